import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DialAddress, PeerId } from '../../src/shared/core/address.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { type ErrorCode, MusterError } from '../../src/shared/core/errors.ts'
import { Emitter } from '../../src/shared/core/events.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { type Random, seededRandom } from '../../src/shared/core/random.ts'
import type { NodeEvents } from '../../src/shared/node/port.ts'
import { createSupervisor, REDIAL_MAX_MS, REDIAL_MIN_MS, redialPauseMs } from '../../src/shared/node/supervisor.ts'

const HUB = '/ip4/192.0.2.1/tcp/8468'
const MINUTE_MS = 60_000

const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** One node that dials, and places that answer or do not. */
class World {
  readonly clock = new ManualClock()
  readonly events = new Emitter<NodeEvents>()
  readonly answers = new Map<string, PeerId>()
  readonly connected = new Set<PeerId>()
  readonly remembered = new Map<string, PeerId>()
  readonly dials: number[] = []
  readonly problems: ErrorCode[] = []
  readonly states: string[] = []
  redials = 0

  supervise(targets: readonly DialAddress[], random: Random = seededRandom(1)) {
    const supervisor = createSupervisor(
      {
        node: {
          peerId: 'self',
          on: this.events.on.bind(this.events),
          isConnected: peerId => this.connected.has(peerId),
          connect: async (target, { check } = {}) => {
            this.dials.push(this.clock.now())
            const peerId = 'address' in target ? this.answers.get(target.address) : undefined
            if (peerId === undefined) throw new MusterError('unreachable')
            check?.(peerId)
            this.connected.add(peerId)
            return peerId
          },
          disconnect: async peerId => this.lose(peerId)
        },
        known: {
          get: async address => this.remembered.get(address),
          remember: async (address, peerId) => void this.remembered.set(address, peerId)
        },
        clock: this.clock,
        random,
        log: silentLog,
        onRedial: () => this.redials++
      },
      targets
    )
    supervisor.on('problem', error => this.problems.push(error.code))
    supervisor.on('up', ({ peerId }) => this.states.push(`${peerId} up`))
    supervisor.on('down', ({ peerId }) => this.states.push(`${peerId} down`))
    return supervisor
  }

  lose(peerId: PeerId): void {
    if (this.connected.delete(peerId)) this.events.emit('disconnect', { peerId })
  }

  /** Lets `ms` pass in steps, so that what waits for each other gets its turn. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.now() + ms
    await settled()
    while (this.clock.now() < end) {
      this.clock.advance(Math.min(100, end - this.clock.now()))
      await settled()
    }
  }
}

describe('the pause between two dials', () => {
  it('doubles from half a second to half a minute', () => {
    const longest = Array.from({ length: 10 }, (_, i) => redialPauseMs(i + 1, () => 1))
    assert.deepEqual(longest.slice(0, 4), [500, 1_000, 2_000, 4_000])
    assert.equal(longest.at(-1), REDIAL_MAX_MS)
    assert.equal(
      redialPauseMs(1_000_000, () => 1),
      REDIAL_MAX_MS
    )
  })

  it('is between half and all of it, so that many peers do not come back in one moment', () => {
    const random = seededRandom(7)
    for (let attempt = 1; attempt < 20; attempt++) {
      const full = redialPauseMs(attempt, () => 1)
      for (let i = 0; i < 50; i++) {
        const pause = redialPauseMs(attempt, random)
        assert.ok(pause >= full / 2 && pause <= full)
      }
    }
    assert.equal(
      redialPauseMs(1, () => 0),
      REDIAL_MIN_MS / 2
    )
    assert.notEqual(redialPauseMs(9, seededRandom(1)), redialPauseMs(9, seededRandom(2)))
  })
})

describe('a supervised address', () => {
  it('is dialled at once, and is up while it is connected', async () => {
    const world = new World()
    world.answers.set(HUB, 'hub')
    await using supervisor = world.supervise([{ address: HUB }])
    await settled()
    assert.deepEqual(supervisor.up, ['hub'])
    assert.equal(supervisor.hasTriedAll, true)
    assert.deepEqual(world.states, ['hub up'])
    world.lose('hub')
    await settled()
    assert.deepEqual(supervisor.up, [])
    assert.deepEqual(world.states, ['hub up', 'hub down'])
  })

  for (const [outage, ms] of [
    ['40 seconds', 40_000],
    ['10 minutes', 10 * MINUTE_MS],
    ['3 days', 3 * 24 * 60 * MINUTE_MS]
  ] as const) {
    it(`comes back within half a minute of an outage of ${outage}`, async () => {
      const world = new World()
      world.answers.set(HUB, 'hub')
      await using supervisor = world.supervise([{ address: HUB }])
      await world.pass(20_000)
      world.answers.delete(HUB)
      world.lose('hub')
      if (ms <= 10 * MINUTE_MS) await world.pass(ms)
      else {
        for (let gone = 0; gone < ms; gone += MINUTE_MS) {
          world.clock.advance(MINUTE_MS)
          await settled()
        }
      }
      assert.deepEqual(supervisor.up, [])
      assert.ok(world.dials.length > 1)
      world.answers.set(HUB, 'hub')
      await world.pass(REDIAL_MAX_MS)
      assert.deepEqual(supervisor.up, ['hub'])
      assert.ok(world.redials > 0)
    })
  }

  it('is never given up, and never hammered: two dials a minute at least, four at most, once it is away for long', async () => {
    const world = new World()
    await using _ = world.supervise([{ address: HUB }])
    await world.pass(5 * MINUTE_MS)
    const before = world.dials.length
    await world.pass(10 * MINUTE_MS)
    const perMinute = (world.dials.length - before) / 10
    assert.ok(perMinute >= 1.9 && perMinute <= 4.1, `${perMinute} dials a minute`)
  })

  it('that drops every connection at once is dialled with growing pauses all the same', async () => {
    const world = new World()
    world.answers.set(HUB, 'hub')
    await using _ = world.supervise([{ address: HUB }])
    world.events.on('disconnect', () => undefined)
    for (let i = 0; i < 50; i++) {
      await world.pass(5_000)
      world.lose('hub')
    }
    const gaps = world.dials.slice(1).map((at, i) => at - (world.dials[i] ?? 0))
    assert.ok(Math.max(...gaps) > 15_000, 'it held less than ten seconds each time')
  })

  it('that held for a while is dialled soon after it is lost', async () => {
    const world = new World()
    world.answers.set(HUB, 'hub')
    await using supervisor = world.supervise([{ address: HUB }])
    for (let i = 0; i < 5; i++) {
      await world.pass(11_000)
      assert.deepEqual(supervisor.up, ['hub'])
      world.lose('hub')
    }
    await world.pass(1_000)
    assert.deepEqual(supervisor.up, ['hub'])
  })

  it('that cannot be reached is a problem said once, until it was reached', async () => {
    const world = new World()
    await using _ = world.supervise([{ address: HUB }])
    await world.pass(3 * MINUTE_MS)
    assert.deepEqual(world.problems, ['unreachable'])
    world.answers.set(HUB, 'hub')
    await world.pass(MINUTE_MS)
    world.answers.delete(HUB)
    world.lose('hub')
    await world.pass(MINUTE_MS)
    assert.deepEqual(world.problems, ['unreachable', 'unreachable'])
  })

  it('is dialled no more once the supervisor is closed', async () => {
    const world = new World()
    const supervisor = world.supervise([{ address: HUB }])
    await world.pass(MINUTE_MS)
    await supervisor.close()
    const { length } = world.dials
    await world.pass(10 * MINUTE_MS)
    assert.equal(world.dials.length, length)
    supervisor.add({ address: '/ip4/192.0.2.2/tcp/1' })
    await settled()
    assert.equal(world.dials.length, length)
  })

  it('given twice is dialled once', async () => {
    const world = new World()
    world.answers.set(HUB, 'hub')
    await using supervisor = world.supervise([{ address: HUB }, { address: HUB }])
    supervisor.add({ address: HUB })
    await settled()
    assert.equal(world.dials.length, 1)
  })
})

describe('who answers at a supervised address', () => {
  it('is remembered the first time', async () => {
    const world = new World()
    world.answers.set(HUB, 'hub')
    await using _ = world.supervise([{ address: HUB }])
    await settled()
    assert.equal(world.remembered.get(HUB), 'hub')
  })

  it('and changes later is refused, said once, and asked again', async () => {
    const world = new World()
    world.remembered.set(HUB, 'hub')
    world.answers.set(HUB, 'impostor')
    await using supervisor = world.supervise([{ address: HUB }])
    await world.pass(2 * MINUTE_MS)
    assert.deepEqual(world.problems, ['bootstrap-identity-changed'])
    assert.deepEqual([supervisor.up, [...world.connected]], [[], []])
    assert.equal(world.remembered.get(HUB), 'hub', 'what was remembered stays')
    assert.ok(world.dials.length > 3)
    world.answers.set(HUB, 'hub')
    await world.pass(REDIAL_MAX_MS)
    assert.deepEqual(supervisor.up, ['hub'])
  })

  it('and is known from another address stays connected there', async () => {
    const world = new World()
    const door = '/ip4/192.0.2.2/tcp/8468'
    world.remembered.set(HUB, 'hub')
    world.answers.set(HUB, 'other')
    world.answers.set(door, 'other')
    await using supervisor = world.supervise([{ address: door }, { address: HUB }])
    await world.pass(5 * MINUTE_MS)
    assert.deepEqual(world.states, ['other up'], 'without a break')
    assert.deepEqual(supervisor.up, ['other'])
    assert.deepEqual(world.problems, ['bootstrap-identity-changed'])
    assert.ok(world.dials.length > 10, 'the address is asked again all the while')
  })

  it('and was named is checked against the name, which replaces what was remembered', async () => {
    const world = new World()
    world.remembered.set(HUB, 'old')
    world.answers.set(HUB, 'new')
    await using supervisor = world.supervise([{ address: HUB, peerId: 'new' }])
    await settled()
    assert.deepEqual(supervisor.up, ['new'])
    assert.equal(world.remembered.get(HUB), 'new')

    const other = new World()
    other.answers.set(HUB, 'impostor')
    await using _ = other.supervise([{ address: HUB, peerId: 'new' }])
    await settled()
    assert.deepEqual(other.problems, ['bootstrap-identity-changed'])
    assert.equal(other.remembered.get(HUB), undefined)
  })

  it('of several addresses is supervised each on its own', async () => {
    const world = new World()
    const second = '/ip4/192.0.2.2/tcp/8468'
    world.answers.set(second, 'second')
    await using supervisor = world.supervise([{ address: HUB }, { address: second }])
    await settled()
    assert.deepEqual(supervisor.up, ['second'])
    world.answers.set(HUB, 'hub')
    await world.pass(REDIAL_MAX_MS)
    assert.deepEqual([...supervisor.up].sort(), ['hub', 'second'])
    assert.ok(supervisor.hasTriedAll)
  })
})

describe('an address that is removed', () => {
  it('is left, and dialled no more, whether it was up or not; another that leads to the same peer keeps it', async () => {
    const world = new World()
    const door = '/ip4/192.0.2.2/tcp/8468'
    world.answers.set(HUB, 'hub')
    world.answers.set(door, 'hub')
    await using supervisor = world.supervise([{ address: HUB }, { address: door }])
    await settled()
    assert.equal(await supervisor.remove(HUB), true)
    assert.deepEqual([supervisor.up, [...world.connected]], [['hub'], ['hub']])
    assert.equal(await supervisor.remove(door), true)
    assert.deepEqual([supervisor.up, [...world.connected]], [[], []])
    assert.equal(await supervisor.remove(door), false)
    supervisor.add({ address: '/ip4/192.0.2.3/tcp/8468' }) // nobody answers there
    await settled()
    assert.equal(await supervisor.remove('/ip4/192.0.2.3/tcp/8468'), true)
    const { length } = world.dials
    await world.pass(5 * MINUTE_MS)
    assert.equal(world.dials.length, length)
    await supervisor.connect({ address: HUB }) // and may come back
    await settled()
    assert.deepEqual(supervisor.up, ['hub'])
  })
})

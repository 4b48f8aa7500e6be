import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createPeer, testnet } from '../../src/index.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { eventually } from '../support/eventually.ts'
import { type Program, startPeer } from '../support/process.ts'
import { allMeet, allTalk, providersAt, type Seat, seen, sit, temporaryFolder } from '../support/topics.ts'

/** What the product promises, 30 s, and the time a loaded machine takes on top. */
const LOST_WITHIN = { withinMs: 60_000 }

/** A peer in a process of its own, in the topic `lobby`. */
async function apart(bootstrap: readonly string[], ...more: string[]): Promise<{ program: Program; peerId: string }> {
  const known = bootstrap.flatMap(address => ['--bootstrap', address])
  const program = startPeer(['--json', '--topic', 'lobby', '--listen', '127.0.0.1:0', '--memory', ...known, ...more])
  const { peerId } = await program.event('listening')
  return { program, peerId: String(peerId) }
}

async function isLost(seats: readonly Seat[], peerId: string): Promise<number> {
  const start = performance.now()
  await eventually(
    'it is lost to everybody',
    () => {
      for (const seat of seats) {
        assert.deepEqual(seat.told.at(-1), { event: 'left', peerId, reason: 'lost' })
        assert.ok(!seen(seat).includes(peerId))
      }
    },
    LOST_WITHIN
  )
  return Math.round(performance.now() - start)
}

describe('a member', () => {
  it('that leaves is gone at once, from lists and from the DHT', async () => {
    await using net = await testnet(2)
    const seats = await Promise.all([1, 2, 3].map(async () => await sit(await net.createPeer())))
    await allMeet(seats)
    const [gone, ...rest] = seats
    assert.ok(gone !== undefined)
    const { key } = await topicOf('lobby')
    const nodes = [...net.bootstraps.map(({ node }) => node), ...rest.map(({ peer }) => peer.node)]
    await eventually('it is provided somewhere', async () => {
      const named = await Promise.all(nodes.map(node => providersAt(node, key)))
      assert.ok(named.some(providers => providers.includes(gone.peerId)))
    })
    await gone.group.leave()
    await eventually('the others heard its goodbye', () => {
      for (const seat of rest) {
        assert.deepEqual(seat.told.at(-1), { event: 'left', peerId: gone.peerId, reason: 'goodbye' })
      }
    })
    await allMeet(rest)
    await eventually('no holder names it', async () => {
      for (const node of nodes) assert.ok(!(await providersAt(node, key)).includes(gone.peerId))
    })
    assert.deepEqual(gone.group.members(), [])
    await assert.rejects(gone.group.send(rest[0]?.peerId ?? '', 1), { code: 'closed' })
  })

  it('that closes says goodbye too', async () => {
    await using net = await testnet()
    const [ana, bob] = [await sit(await net.createPeer()), await sit(await net.createPeer())]
    await allMeet([ana, bob])
    await bob.peer.close()
    await eventually('ana heard it', () => {
      assert.deepEqual(ana.told.at(-1), { event: 'left', peerId: bob.peerId, reason: 'goodbye' })
    })
  })

  it('that leaves and joins again is there again, time after time', async () => {
    await using net = await testnet()
    const ana = await sit(await net.createPeer())
    const peer = await net.createPeer()
    for (let round = 1; round <= 5; round++) {
      const bob = await sit(peer)
      await allMeet([ana, bob])
      await bob.group.leave()
      await eventually('it left', () => assert.deepEqual(seen(ana), []))
      const came = ana.told.filter(({ event }) => event === 'member')
      assert.equal(came.length, round)
    }
  })

  it('that is killed is lost to everybody', async context => {
    await using net = await testnet()
    const { program, peerId } = await apart(net.addresses)
    await using _program = program
    const seats = [await sit(await net.createPeer()), await sit(await net.createPeer())]
    await eventually('everybody sees it', () => seats.every(seat => seen(seat).includes(peerId)))
    program.signal('SIGKILL')
    context.diagnostic(`killed: lost to all after ${await isLost(seats, peerId)} ms`)
    await allMeet(seats)
  })

  it('whose process is stopped, so that it accepts and never answers, is lost; when it goes on it is back', async context => {
    await using net = await testnet()
    const { program, peerId } = await apart(net.addresses)
    await using _program = program
    const seats = [await sit(await net.createPeer()), await sit(await net.createPeer())]
    await eventually('everybody sees it', () => seats.every(seat => seen(seat).includes(peerId)))
    program.signal('SIGSTOP')
    try {
      context.diagnostic(`stopped: lost to all after ${await isLost(seats, peerId)} ms`)
    } finally {
      program.signal('SIGCONT')
    }
    await eventually('everybody sees it again', () => seats.every(seat => seen(seat).includes(peerId)), {
      withinMs: 90_000
    })
  })

  it('that is killed and restarted with the same identity is listed once, and came again', async () => {
    await using net = await testnet()
    await using folder = await temporaryFolder()
    const start = async (): Promise<Program> => {
      const program = startPeer([
        ...['--json', '--topic', 'lobby', '--listen', '127.0.0.1:0', '--data', folder.path],
        ...net.addresses.flatMap(address => ['--bootstrap', address])
      ])
      await program.event('listening')
      return program
    }
    const ana = await sit(await net.createPeer())
    const first = await start()
    await using _first = first
    const { peerId } = await first.event('listening')
    await eventually('ana sees it', () => assert.deepEqual(seen(ana), [peerId]))
    first.signal('SIGKILL')
    await first.exited
    await using second = await start()
    assert.equal((await second.event('listening')).peerId, peerId)
    await second.event('member', event => event.peerId === ana.peerId)
    await eventually('ana lists it once, reached', async () => {
      assert.deepEqual(seen(ana), [peerId])
      assert.equal((await ana.group.send(String(peerId), 'hello again', { timeoutMs: 2_000 })).to, peerId)
    })
    const { told } = ana
    for (const [at, { event }] of told.entries()) assert.equal(event, at % 2 === 0 ? 'member' : 'left')
  })

  it('stays when the connection to it is closed: an identity, not a connection', async () => {
    await using net = await testnet()
    const [ana, bob] = [await sit(await net.createPeer()), await sit(await net.createPeer())]
    await allMeet([ana, bob])
    await ana.peer.node.disconnect(bob.peerId)
    await eventually('they are connected again', () => ana.peer.node.isConnected(bob.peerId))
    await allTalk([ana, bob])
    assert.deepEqual([ana.told.length, bob.told.length], [1, 1])
  })

  it('that closes while it is being greeted leaves nobody behind', async () => {
    await using net = await testnet()
    const ana = await sit(await net.createPeer())
    for (let round = 0; round < 5; round++) {
      const bob = await createPeer({ memory: true, listen: '127.0.0.1:0', bootstrap: net.addresses })
      await bob.join('lobby')
      if (round % 2 === 1) await eventually('ana sees bob', () => seen(ana).includes(bob.peerId))
      await bob.close()
    }
    await eventually('ana is alone', () => assert.deepEqual(seen(ana), []))
  })
})

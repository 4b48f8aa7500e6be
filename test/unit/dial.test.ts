import assert from 'node:assert/strict'
import { describe, it, mock, type TestContext } from 'node:test'
import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../src/shared/core/address.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { Dialer } from '../../src/shared/node/dial.ts'
import {
  DIAL_STAGGER_MS,
  DIAL_TIMEOUT_MS,
  MAX_DIALLED_ADDRESSES,
  MAX_PARALLEL_DIALS
} from '../../src/shared/node/limits.ts'
import type { Preset } from '../../src/shared/node/presets.ts'

const PEER = '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf'
const OTHER = '12D3KooWHDhpdigtTtLvx3ve1L2GsavMdXzwgW4sZMCp1Uc5JMv7'
const at = (port: number): string => `/ip4/127.0.0.1/tcp/${port}`

/** Lets everything run that does not wait for time. */
const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** A world in which dials end when the test says so, and time passes when it says so. */
function world(test: TestContext, preset: Preset = 'private') {
  mock.timers.enable({ apis: ['setTimeout'] })
  test.after(() => mock.timers.reset())
  const begun: string[] = []
  const stopped: string[] = []
  const open = new Map<string, PromiseWithResolvers<Connection>>()
  const closing = new AbortController()
  const dialer = new Dialer(
    (address, signal) => {
      const text = address.toString()
      begun.push(text)
      const result = Promise.withResolvers<Connection>()
      open.set(text, result)
      signal.addEventListener('abort', () => {
        stopped.push(text)
        result.reject(signal.reason)
      })
      return result.promise
    },
    preset,
    closing.signal
  )
  const nameOf = (port: number, peerId: PeerId): string => `${at(port)}/p2p/${peerId}`
  return {
    dialer,
    begun,
    stopped,
    closing,
    ports: () => begun.map(text => Number(/tcp\/(\d+)/.exec(text)?.[1])),
    answer(port: number, peerId = PEER) {
      const connection = { id: String(port) } as Connection
      open.get(nameOf(port, peerId))?.resolve(connection)
      return settled()
    },
    refuse(port: number, peerId = PEER) {
      open.get(nameOf(port, peerId))?.reject(new Error('refused'))
      return settled()
    },
    pass(ms: number) {
      mock.timers.tick(ms)
      return settled()
    }
  }
}
type World = ReturnType<typeof world>

const dial = (
  { dialer }: World,
  ports: readonly number[],
  signal?: AbortSignal,
  peerId = PEER
): Promise<Connection> => {
  const dialled = dialer.peer({ peerId, addresses: ports.map(at) }, signal)
  dialled.catch(() => undefined) // looked at later
  return dialled
}
const fails = (code: 'unreachable' | 'timed-out' | 'aborted' | 'closed') => (thrown: unknown) =>
  isMusterError(thrown, code)

describe('dialling a peer', () => {
  it('expects its identity at every address', async test => {
    const here = world(test)
    const connection = dial(here, [1])
    await settled()
    assert.deepEqual(here.begun, [`${at(1)}/p2p/${PEER}`])
    await here.answer(1)
    assert.equal((await connection).id, '1')
  })

  it('tries the next address when one fails, at once', async test => {
    const here = world(test)
    const connection = dial(here, [1, 2, 3])
    await settled()
    assert.deepEqual(here.ports(), [1])
    await here.refuse(1)
    assert.deepEqual(here.ports(), [1, 2])
    await here.answer(2)
    assert.equal((await connection).id, '2')
    await here.pass(10 * DIAL_STAGGER_MS)
    assert.deepEqual(here.ports(), [1, 2], 'the third was not needed')
  })

  it('tries silent addresses one after the other, a moment apart, and does not give the first one up', async test => {
    const here = world(test)
    const connection = dial(here, [1, 2, 3])
    await settled()
    await here.pass(DIAL_STAGGER_MS - 1)
    assert.deepEqual(here.ports(), [1])
    await here.pass(1)
    assert.deepEqual(here.ports(), [1, 2])
    await here.pass(DIAL_STAGGER_MS - 1)
    assert.deepEqual(here.ports(), [1, 2])
    await here.pass(1)
    assert.deepEqual(here.ports(), [1, 2, 3])
    await here.answer(1)
    assert.equal((await connection).id, '1')
    assert.deepEqual(here.stopped.length, 2, 'the others are broken off, the winner is not')
  })

  it('fails when all addresses do, and says why in the cause', async test => {
    const here = world(test)
    const connection = dial(here, [1, 2])
    await settled()
    await here.refuse(1)
    await here.refuse(2)
    await assert.rejects(connection, thrown => isMusterError(thrown, 'unreachable') && thrown.cause instanceof Error)
  })

  it('gives up in time when nobody answers', async test => {
    const here = world(test)
    const connection = dial(here, [1])
    await settled()
    await here.pass(DIAL_TIMEOUT_MS)
    await assert.rejects(connection, fails('timed-out'))
    assert.equal(here.stopped.length, 1)
  })

  it('dials nothing that a stranger may not name', async test => {
    const here = world(test, 'public')
    const addresses = ['rubbish', '', at(1), '/dns/example.org/tcp/1', '/ip4/0.0.0.0/tcp/1']
    await assert.rejects(here.dialer.peer({ peerId: PEER, addresses }, undefined), fails('unreachable'))
    assert.deepEqual(here.begun, [])
  })

  it('dials only so many addresses', async test => {
    const many = world(test)
    const connection = dial(
      many,
      Array.from({ length: 40 }, (_, i) => i + 1)
    )
    await settled()
    for (let port = 1; port <= 40; port++) await many.refuse(port)
    await assert.rejects(connection, fails('unreachable'))
    assert.equal(many.begun.length, MAX_DIALLED_ADDRESSES)
  })
})

describe('two calls for the same peer', () => {
  it('share one dial', async test => {
    const here = world(test)
    const [one, two] = [dial(here, [1]), dial(here, [1])]
    await settled()
    assert.deepEqual(here.ports(), [1])
    await here.answer(1)
    assert.equal(await one, await two)
    void dial(here, [1])
    await settled()
    assert.deepEqual(here.ports(), [1, 1], 'and the next call starts afresh')
  })

  it('try what either knows: a silent rumour holds nobody up', async test => {
    const here = world(test)
    const rumour = dial(here, [1])
    await settled()
    const truth = dial(here, [2])
    await settled()
    assert.deepEqual(here.ports(), [1])
    await here.pass(DIAL_STAGGER_MS)
    assert.deepEqual(here.ports(), [1, 2])
    await here.answer(2)
    assert.equal((await truth).id, '2')
    assert.equal((await rumour).id, '2')
    assert.equal(here.stopped.length, 1, 'the other dial is broken off')
  })

  it('make one connection when the first dial is not silent', async test => {
    const here = world(test)
    const [one, two] = [dial(here, [1]), dial(here, [1, 2])]
    await settled()
    await here.answer(1)
    assert.equal(await one, await two)
    await here.pass(2 * DIAL_STAGGER_MS)
    assert.deepEqual(here.ports(), [1])
  })

  it('go on with what the second knows when the first fails', async test => {
    const here = world(test)
    const [one, two] = [dial(here, [1]), dial(here, [2])]
    await settled()
    await here.refuse(1)
    assert.deepEqual(here.ports(), [1, 2])
    await assert.rejects(one, fails('unreachable'))
    await here.answer(2)
    assert.equal((await two).id, '2')
  })

  it('are cancelled each on its own', async test => {
    const here = world(test)
    const own = new AbortController()
    const [one, two] = [dial(here, [1], own.signal), dial(here, [1])]
    await settled()
    own.abort(new Error('changed my mind'))
    await assert.rejects(one)
    assert.deepEqual(here.stopped, [])
    await here.answer(1)
    assert.equal((await two).id, '1')
  })
})

describe('dialling at large', () => {
  it('ends when the node closes', async test => {
    const here = world(test)
    const connection = dial(here, [1])
    await settled()
    here.closing.abort(new Error('closing'))
    await assert.rejects(connection)
    assert.equal(here.stopped.length, 1)
  })

  it('has a limit; who waits for a turn gets it', async test => {
    const here = world(test)
    for (let i = 0; i < MAX_PARALLEL_DIALS; i++) {
      const place = here.dialer.place({ address: at(i + 1) }, undefined)
      place.catch(() => undefined)
    }
    const late = dial(here, [9_999], undefined, OTHER)
    await settled()
    assert.equal(here.begun.length, MAX_PARALLEL_DIALS)
    await here.pass(DIAL_TIMEOUT_MS)
    assert.ok(here.begun.includes(`${at(9_999)}/p2p/${OTHER}`))
    await here.answer(9_999, OTHER)
    assert.equal((await late).id, '9999')
  })

  it('does not begin what nobody waits for any more: it is not in the way of who does', async test => {
    const here = world(test)
    const gaveUp = new AbortController()
    for (let i = 0; i < 200; i++) void dial(here, [i + 1], gaveUp.signal, `peer ${i}`)
    const wanted = dial(here, [1_000], undefined, OTHER)
    await settled()
    gaveUp.abort(new Error('too slow'))
    await settled()
    assert.equal(here.begun.length, MAX_PARALLEL_DIALS)
    const place = here.dialer.place({ address: at(9_999) }, undefined)
    place.catch(() => undefined)
    await here.pass(DIAL_TIMEOUT_MS)
    assert.deepEqual(here.ports().slice(MAX_PARALLEL_DIALS), [1_000, 9_999])
    await here.answer(1_000, OTHER)
    assert.equal((await wanted).id, '1000')
  })

  it('waits for a turn for twice the time of a dial at most', async test => {
    const here = world(test)
    const places = Array.from({ length: 3 * MAX_PARALLEL_DIALS }, (_, i) => {
      const place = here.dialer.place({ address: at(i + 1) }, undefined)
      place.catch(() => undefined)
      return place
    })
    await settled()
    await here.pass(DIAL_TIMEOUT_MS)
    await here.pass(DIAL_TIMEOUT_MS) // the last third gives up in the moment in which the second does
    for (const place of places.slice(-MAX_PARALLEL_DIALS)) await assert.rejects(place, fails('timed-out'))
    await here.pass(DIAL_TIMEOUT_MS)
    assert.equal(here.begun.length, 2 * MAX_PARALLEL_DIALS)
  })

  it('begins nothing once the node closes, whether it waits for a turn or is asked for later', async test => {
    const here = world(test)
    const all = Array.from({ length: 2 * MAX_PARALLEL_DIALS }, (_, i) =>
      here.dialer.place({ address: at(i + 1) }, undefined)
    )
    const peer = dial(here, [5_000])
    for (const place of all) place.catch(() => undefined)
    await settled()
    here.closing.abort(new Error('closing'))
    for (const one of [...all, peer]) await assert.rejects(one)
    await assert.rejects(here.dialer.place({ address: at(6_000) }, undefined))
    await assert.rejects(dial(here, [7_000], undefined, OTHER))
    await here.pass(DIAL_TIMEOUT_MS)
    assert.equal(here.begun.length, MAX_PARALLEL_DIALS)
  })

  it('does not begin for a caller who has given up before', async test => {
    const here = world(test)
    await assert.rejects(here.dialer.place({ address: at(1) }, AbortSignal.abort(new Error('too late'))))
    assert.deepEqual(here.begun, [])
  })

  it('takes configured places as they are, names included, with an identity or without', async test => {
    const here = world(test, 'public')
    for (const place of [{ address: '/dns/localhost/tcp/1' }, { address: at(2), peerId: PEER }]) {
      here.dialer.place(place, undefined).catch(() => undefined)
    }
    await settled()
    assert.deepEqual(here.begun, ['/dns/localhost/tcp/1', `${at(2)}/p2p/${PEER}`])
  })
})

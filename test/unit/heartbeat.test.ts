import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Libp2p } from '@libp2p/interface'
import { keepHeartbeat } from '../../src/shared/node/heartbeat.ts'
import { HEARTBEAT_TIMEOUT_MS, PING_INTERVAL_MS } from '../../src/shared/node/limits.ts'

/** A connection whose pings are never answered, under a heartbeat whose time is the test's. */
function unanswered(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const socket = new EventTarget()
  const aborted: string[] = []
  const connection = {
    status: 'open',
    muxer: { status: 'open', ping: () => new Promise(() => undefined), maConn: socket },
    abort: ({ code }: { code: string }) => aborted.push(code)
  }
  t.after(keepHeartbeat({ getConnections: () => [connection] } as unknown as Libp2p))
  /** Time passes, and the process reads between any two moments of it. */
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      t.mock.timers.tick(100)
      await new Promise(setImmediate)
    }
  }
  /** The process stands still: all timers are due at once, before it reads. */
  const standStill = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      t.mock.timers.tick(100)
      for (let i = 0; i < 20; i++) await undefined
    }
  }
  return { socket, aborted, pass, standStill }
}

describe('the heartbeat', () => {
  it('aborts a connection from which nothing comes', async t => {
    const { aborted, pass } = unanswered(t)
    await pass(PING_INTERVAL_MS)
    await pass(HEARTBEAT_TIMEOUT_MS - 1_000)
    assert.deepEqual(aborted, [])
    await pass(2_000)
    assert.deepEqual(aborted, ['timed-out'])
  })

  it('lets one be whose answer waits behind other bytes', async t => {
    const { socket, aborted, pass } = unanswered(t)
    await pass(PING_INTERVAL_MS)
    socket.dispatchEvent(new Event('message'))
    await pass(HEARTBEAT_TIMEOUT_MS - 1_000)
    await pass(2_000)
    assert.deepEqual(aborted, [])
  })

  it('lets one be whose answer came while the process itself stood still', async t => {
    const { socket, aborted, pass, standStill } = unanswered(t)
    await pass(PING_INTERVAL_MS)
    await standStill(2 * HEARTBEAT_TIMEOUT_MS)
    socket.dispatchEvent(new Event('message')) // read only now
    await pass(HEARTBEAT_TIMEOUT_MS)
    assert.deepEqual(aborted, [])
  })

  it('counts what came after the ping only', async t => {
    const { socket, aborted, pass } = unanswered(t)
    socket.dispatchEvent(new Event('message'))
    await pass(PING_INTERVAL_MS)
    await pass(HEARTBEAT_TIMEOUT_MS - 1_000)
    await pass(2_000)
    assert.deepEqual(aborted, ['timed-out'])
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { testnet } from '../../src/index.ts'
import { Program } from '../support/process.ts'

const MIB = 1_048_576
/** What a sender may hold for a reader that does not read: buffers of sockets and streams, never the values. */
const MAX_GROWN_BYTES = 64 * MIB
/** Generous: other programs run on this machine. A sender that waits for the stopped reader would need for ever. */
const MAX_RATIO = 10

describe('a reader that is stopped while 500 MiB are sent to it', () => {
  it('costs the sender little memory and others nothing; when it goes on, all sends end', {
    timeout: 300_000
  }, async () => {
    await using net = await testnet()
    const [address = ''] = net.addresses
    const start = (...args: string[]): Program =>
      new Program(process.execPath, ['--expose-gc', 'test/support/stopped-reader.ts', ...args], {})
    await using stopped = start('reader', address)
    await using other = start('reader', address)
    const [stoppedId, otherId] = await Promise.all(
      [stopped, other].map(async program => String((await program.event('listening')).peerId))
    )
    await using sender = start('sender', address, stoppedId ?? '', otherId ?? '')
    await sender.event('ready')
    stopped.signal('SIGSTOP')
    sender.type('it is stopped')
    const stalled = (await sender.event('stalled')) as unknown as Stalled
    stopped.signal('SIGCONT')
    sender.type('it goes on')
    const over = (await sender.event('over')) as unknown as Over

    const said = JSON.stringify({ stalled, over })
    if (process.env.MUSTER_SHOW !== undefined) console.log(said)
    assert.ok(stalled.sentBytes > 0 && stalled.sentBytes < 62 * MIB, `the reader was not stopped: ${said}`)
    assert.ok(stalled.mostBytes <= MAX_GROWN_BYTES, said)
    assert.ok(stalled.duringMs <= MAX_RATIO * stalled.beforeMs, said)
    assert.equal(over.outcomes.length, 8)
    const ends = ['receipt', 'closed', 'gone', 'timed-out']
    assert.ok(
      over.outcomes.every(outcome => ends.includes(outcome)),
      said
    )
    assert.equal(over.again, 'receipt')
    assert.ok(over.keptBytes < 8 * MIB, said)
  })
})

interface Stalled {
  /** Medians of round trips with the other member. */
  readonly beforeMs: number
  readonly duringMs: number
  /** By how much the sender's resident memory has grown, at most. */
  readonly mostBytes: number
  readonly sentBytes: number
}

interface Over {
  readonly outcomes: readonly string[]
  /** The same value once more, to the other member. */
  readonly again: string
  readonly keptBytes: number
}

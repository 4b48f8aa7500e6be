import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Json, PeerOptions, Value } from '../../src/index.ts'
import { type ErrorCode, type Testnet, testnet } from '../../src/index.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { eventually } from '../support/eventually.ts'
import { startPeer } from '../support/process.ts'
import { allMeet, type Seat, seen, sit } from '../support/topics.ts'

const MIB = 1_048_576
const PATIENT = { timeoutMs: 60_000 }

async function pair(net: Testnet, options: PeerOptions = {}): Promise<readonly [Seat, Seat]> {
  const [ana, bob] = [await sit(await net.createPeer(options)), await sit(await net.createPeer(options))]
  await allMeet([ana, bob])
  return [ana, bob]
}

async function fails(sending: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(sending, { name: 'MusterError', code })
}

describe('a direct message over real sockets', () => {
  it('arrives with its sender, topic and id; the receipt has the same id and a round-trip time', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net, { name: 'nick' })
    const receipt = await ana.group.send(bob.peerId, { say: 'hello' })
    assert.equal(receipt.to, bob.peerId)
    assert.equal(receipt.topic, 'lobby')
    assert.ok(receipt.rttMs > 0)
    assert.deepEqual(
      { ...bob.messages[0] },
      {
        ...{
          from: ana.peerId,
          name: 'nick',
          topic: 'lobby',
          id: receipt.id,
          value: { say: 'hello' },
          via: 'direct',
          sentAt: undefined
        }
      }
    )
    assert.equal(bob.messages[0]?.wantsReply, false)
  })

  it('keeps every JSON value and bytes as they are', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    const values: Value[] = [
      ...([null, true, 0, -1.5, '', 'ÿ 🎈', [], [1, [2]], {}, { a: { b: [null] } }] satisfies Json[]),
      new Uint8Array(0),
      Uint8Array.from({ length: 70_000 }, (_, at) => at & 255)
    ]
    for (const value of values) await ana.group.send(bob.peerId, value)
    assert.deepEqual(
      bob.messages.map(({ value }) => value),
      values
    )
  })

  it('may be as long as it is allowed to be, and not a byte longer', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net, { maxMessageBytes: MIB })
    const largest = new Uint8Array(MIB).fill(7)
    const text = 'x'.repeat(MIB - 2)
    await Promise.all([ana.group.send(bob.peerId, largest, PATIENT), ana.group.send(bob.peerId, text, PATIENT)])
    assert.deepEqual(
      bob.messages.map(({ value }) => value),
      [largest, text]
    )
    await fails(ana.group.send(bob.peerId, new Uint8Array(MIB + 1)), 'too-large')
    await fails(ana.group.send(bob.peerId, `${text}x`), 'too-large')
    assert.equal(bob.messages.length, 2)
  })

  it('keeps its place among 1,000 of mixed sizes that a slow reader takes', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    const random = seededRandom(11)
    const sizes = Array.from({ length: 1_000 }, () => Math.floor(random() ** 3 * 60_000))
    const receipts = await Promise.all(
      sizes.map((size, at) => ana.group.send(bob.peerId, [at, 'x'.repeat(size)], PATIENT))
    )
    assert.deepEqual(
      bob.messages.map(({ id }) => id),
      receipts.map(({ id }) => id)
    )
    for (const [at, { value }] of bob.messages.entries()) {
      const [number, text] = value as [number, string]
      assert.deepEqual([number, text.length], [at, sizes[at]])
    }
  })

  it('goes both ways at once, a large one beside many small', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    const large = new Uint8Array(MIB)
    const numbers = Array.from({ length: 200 }, (_, number) => number)
    await Promise.all([
      ana.group.send(bob.peerId, large, PATIENT),
      ...numbers.flatMap(number => [
        ana.group.send(bob.peerId, number, PATIENT),
        bob.group.send(ana.peerId, number, PATIENT)
      ])
    ])
    assert.deepEqual(
      ana.messages.map(({ value }) => value),
      numbers
    )
    assert.deepEqual(
      bob.messages.map(({ value }) => value).filter(value => !(value instanceof Uint8Array)),
      numbers
    )
    assert.equal(bob.messages.length, numbers.length + 1)
  })

  it('uses one stream per pair, topic and sender', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    await Promise.all(Array.from({ length: 50 }, (_, number) => ana.group.send(bob.peerId, number)))
    const node = bob.peer.node as unknown as {
      libp2p: { getConnections(): Array<{ streams: Array<{ protocol: string; direction: string }> }> }
    }
    const streams = node.libp2p.getConnections().flatMap(connection => connection.streams)
    const inbound = streams.filter(
      ({ protocol, direction }) => protocol.includes('/message/') && direction === 'inbound'
    )
    assert.equal(inbound.length, 1)
  })
})

describe('a direct message that does not arrive says why', () => {
  it('not-a-member: to somebody who is not in the topic', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    await fails(ana.group.send(net.bootstraps[0]?.peerId ?? '', 1), 'not-a-member')
    await fails(ana.group.send(ana.peerId, 1), 'not-a-member')
    await bob.group.leave()
    await eventually('ana knows that bob left', () => !seen(ana).includes(bob.peerId))
    await fails(ana.group.send(bob.peerId, 1), 'not-a-member')
  })

  it('value-invalid: what JSON does not keep', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    for (const value of [undefined, () => 1, 1n, Number.NaN]) {
      await fails(ana.group.send(bob.peerId, value as unknown as Value), 'value-invalid')
    }
    assert.equal((await ana.group.send(bob.peerId, 'and goes on')).to, bob.peerId)
  })

  it('no-handler: nobody listens for messages', async () => {
    await using net = await testnet()
    const ana = await sit(await net.createPeer())
    const deaf = await net.createPeer()
    await deaf.join('lobby')
    await eventually('ana sees it', () => seen(ana).includes(deaf.peerId))
    await fails(ana.group.send(deaf.peerId, 1), 'no-handler')
  })

  it('aborted: the caller gave up', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    await fails(ana.group.send(bob.peerId, 1, { signal: AbortSignal.abort() }), 'aborted')
    const controller = new AbortController()
    const sending = ana.group.send(bob.peerId, new Uint8Array(MIB), { signal: controller.signal })
    controller.abort()
    await fails(sending, 'aborted')
    assert.equal((await ana.group.send(bob.peerId, 'and goes on')).to, bob.peerId)
  })

  it('closed: the group was left, or the peer closed', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    await ana.group.leave()
    await fails(ana.group.send(bob.peerId, 1), 'closed')
    await bob.peer.close()
    await fails(bob.group.send(ana.peerId, 1), 'closed')
  })

  it('timed-out, or unreachable: the other process is stopped, then killed', async () => {
    await using net = await testnet()
    const ana = await sit(await net.createPeer())
    await using program = startPeer([
      ...['--json', '--topic', 'lobby', '--listen', '127.0.0.1:0', '--memory'],
      ...net.addresses.flatMap(address => ['--bootstrap', address])
    ])
    const peerId = String((await program.event('listening')).peerId)
    await eventually('ana sees it', () => seen(ana).includes(peerId))
    await ana.group.send(peerId, 'hello', PATIENT)
    program.signal('SIGSTOP')
    await fails(ana.group.send(peerId, 'anybody?', { timeoutMs: 300 }), 'timed-out')
    const waiting = ana.group.send(peerId, 'anybody?', PATIENT)
    waiting.catch(() => undefined)
    program.signal('SIGKILL')
    await fails(waiting, 'gone') // delivered or not, nobody knows
    await eventually('it is lost', () => !seen(ana).includes(peerId), { withinMs: 60_000 })
    await fails(ana.group.send(peerId, 1), 'not-a-member')
  })

  it('limit-reached: more wait for room than the sender may hold', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net, { maxMessageBytes: MIB, maxPeerBytes: 4 * MIB })
    const many = Array.from({ length: 80 }, () => ana.group.send(bob.peerId, new Uint8Array(MIB), PATIENT))
    const outcomes = await Promise.allSettled(many)
    const codes = outcomes.flatMap(outcome => (outcome.status === 'rejected' ? [outcome.reason.code] : []))
    assert.deepEqual([...new Set(codes)], ['limit-reached'])
    assert.equal(bob.messages.length, many.length - codes.length)
  })
})

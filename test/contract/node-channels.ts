import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isMusterError, MusterError } from '../../src/shared/core/errors.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { eventually } from '../support/eventually.ts'
import {
  addressOf,
  bytes,
  connected,
  echo,
  failureOf,
  HANDLING,
  LIMITS,
  MAX_ACCEPTED_BYTES,
  type NodeHarness,
  nodes,
  PROTOCOL,
  rejectsWith,
  roundTrip,
  stands,
  TEST,
  take,
  text,
  thrownBy
} from './node-words.ts'

/** How frames travel. */
export function channelContract(make: () => Promise<NodeHarness>): void {
  describe('channels', () => {
    it('carries the first frames with the opening and brings the answer back', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const served: Channel[] = []
      bob.handle(PROTOCOL, HANDLING, far => {
        served.push(far)
        return echo(far)
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, {
        ...LIMITS,
        first: [bytes('one'), bytes(''), bytes('three')]
      })
      assert.deepEqual([channel.peerId, channel.inbound], [bob.peerId, false])
      assert.deepEqual((await take(channel, 3)).map(text), ['one', '', 'three'])
      assert.deepEqual(
        served.map(({ peerId, inbound }) => ({ peerId, inbound })),
        [{ peerId: ana.peerId, inbound: true }]
      )
      await channel.close()
    })

    it('keeps the order of 1,000 frames both ways', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, HANDLING, echo)
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const expected = Array.from({ length: 1_000 }, (_, i) => `frame ${i}${'.'.repeat(i % 97)}`)
      const got = take(channel, expected.length)
      await Promise.all(expected.map(frame => channel.send(bytes(frame))))
      assert.deepEqual((await got).map(text), expected)
    })

    it('hands out all frames that are there, in order, in batches', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const served = Promise.withResolvers<Channel>()
      bob.handle(PROTOCOL, HANDLING, far => served.resolve(far))
      const expected = Array.from({ length: 1_000 }, (_, i) => `frame ${i}`)
      const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: expected.slice(0, 10).map(bytes) })
      for (const frame of expected.slice(10)) await channel.send(bytes(frame))
      await channel.close()
      const batches = await Array.fromAsync((await served.promise).batches)
      assert.deepEqual(batches.flat().map(text), expected)
      assert.ok(batches.length < 100, `${batches.length} batches for 1,000 frames that were there`)
      assert.ok(batches.every(batch => batch.length > 0))
    })

    it(
      'sends frames in the order of the calls, whatever their size and whether or not the caller waits',
      TEST,
      async () => {
        await using net = await make()
        const [ana, bob] = await connected(net)
        bob.handle(PROTOCOL, HANDLING, echo)
        const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
        const lengths = [0, 1, 8_191, 8_192, 3, 65_532, 65_536, 0, 100_000, 7, 524_288, 5]
        const sent = Array.from({ length: 48 }, (_, i) => new Uint8Array(lengths[i % lengths.length] ?? 0).fill(i))
        const got = take(channel, sent.length)
        await Promise.all(sent.map(frame => channel.send(frame)))
        const told = (frame: Uint8Array): string => `${frame.length} × ${[...new Set(frame)].join()}`
        assert.deepEqual((await got).map(told), sent.map(told))
      }
    )

    it('sends what was accepted before a close by whoever closes', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const got = Promise.withResolvers<string[]>()
      bob.handle(PROTOCOL, HANDLING, async far => got.resolve((await Array.fromAsync(far.frames)).map(text)))
      const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('first')] })
      await eventually('it is served', async () => (await ana.ping(bob.peerId)) >= 0)
      await channel.send(bytes('last'))
      await ana.disconnect(bob.peerId)
      assert.deepEqual(await got.promise, ['first', 'last'])
    })

    it('closes one half: the other side reads to the end, and is heard until it closes its own', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const served = Promise.withResolvers<Channel>()
      bob.handle(PROTOCOL, HANDLING, async far => {
        const got = (await Array.fromAsync(far.frames)).map(text)
        await far.send(bytes(`got ${got}`))
        served.resolve(far)
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('first')] })
      await channel.send(bytes('last'))
      await channel.end()
      await rejectsWith('closed', channel.send(bytes('too late')))
      const answers = Array.fromAsync(channel.frames)
      const theirs = await served.promise
      assert.deepEqual([channel.signal.aborted, theirs.signal.aborted], [false, false])
      await theirs.end()
      assert.deepEqual((await answers).map(text), ['got first,last'])
      await eventually('both ends are done with', () => channel.signal.aborted && theirs.signal.aborted)
    })

    it('carries a frame of 1 MiB unchanged', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, HANDLING, echo)
      const frame = Uint8Array.from({ length: 1_048_576 }, (_, i) => (i * 31) & 255)
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const got = take(channel, 1)
      await channel.send(frame)
      assert.deepEqual((await got)[0], frame)
    })

    it('keeps several channels between the same two apart', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, HANDLING, echo)
      bob.handle('other/1.0.0', HANDLING, async channel => {
        for await (const frame of channel.frames) await channel.send(bytes(`other ${text(frame)}`))
      })
      const [a, b, other] = await Promise.all([
        ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('a')] }),
        ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('b')] }),
        ana.open(bob.peerId, 'other/1.0.0', { ...LIMITS, first: [bytes('c')] })
      ])
      const answers = await Promise.all([a, b, other].map(async channel => (await take(channel, 1)).map(text)))
      assert.deepEqual(answers, [['a'], ['b'], ['other c']])
    })

    it('refuses a frame over the limit before it is sent', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, HANDLING, echo)
      const first = [new Uint8Array(11)]
      await rejectsWith('too-large', ana.open(bob.peerId, PROTOCOL, { maxFrameBytes: 10, first }))
      const channel = await ana.open(bob.peerId, PROTOCOL, { maxFrameBytes: 10 })
      await rejectsWith('too-large', channel.send(new Uint8Array(11)))
      const got = take(channel, 1)
      await channel.send(bytes('fits'))
      assert.deepEqual((await got).map(text), ['fits'])
    })

    it('aborts the channel when the other side sends more than the limit', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const ends = Promise.withResolvers<unknown>()
      bob.handle(PROTOCOL, { maxFrameBytes: 10, maxInboundPerConnection: 8 }, async far => {
        ends.resolve(await thrownBy(take(far, 1)))
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      await channel.send(new Uint8Array(11)).catch(() => undefined) // the reset may come first
      assert.ok(isMusterError(await ends.promise, 'too-large'))
      await eventually('ana sees the reset', () => channel.signal.aborted)
      assert.ok(isMusterError(channel.signal.reason))
      assert.equal(ana.isConnected(bob.peerId), true)
    })

    it('ends the frames of the other side on close, after all that was sent', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const got = Promise.withResolvers<string[]>()
      bob.handle(PROTOCOL, HANDLING, async far => {
        try {
          got.resolve((await Array.fromAsync(far.frames)).map(text))
        } catch (thrown) {
          got.reject(thrown)
        }
        await far.close()
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('0')] })
      const expected = Array.from({ length: 100 }, (_, i) => String(i))
      for (const frame of expected.slice(1)) await channel.send(bytes(frame))
      await channel.close()
      assert.deepEqual(await got.promise, expected)
      await eventually('the channel is over', () => channel.signal.aborted)
      assert.ok(isMusterError(channel.signal.reason, 'closed'))
      await rejectsWith('closed', channel.send(bytes('too late')))
      assert.deepEqual(await Array.fromAsync(channel.frames), [])
      await channel.close()
    })

    it('shows an abort to the other side as a broken channel', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const seen = Promise.withResolvers<void>()
      const ends = Promise.withResolvers<{ thrown: unknown; far: Channel }>()
      bob.handle(PROTOCOL, HANDLING, async served => {
        const reading = (async () => {
          for await (const _ of served.frames) seen.resolve()
        })()
        ends.resolve({ thrown: await thrownBy(reading), far: served })
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('hello')] })
      await seen.promise // an abort at once may overtake the opening itself
      channel.abort(new Error('enough'))
      assert.equal(channel.signal.aborted, true)
      assert.ok(isMusterError(channel.signal.reason))
      await assert.rejects(channel.send(bytes('more')), error => isMusterError(error))
      const { thrown, far } = await ends.promise
      assert.ok(isMusterError(thrown), String(thrown))
      assert.equal(far.signal.aborted, true)
      await assert.rejects(far.send(bytes('more')), error => isMusterError(error))
      assert.equal(bob.isConnected(ana.peerId), true)
    })

    it('makes the sender wait while the reader does not read, and goes on after', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const read = Promise.withResolvers<void>()
      const seen = Promise.withResolvers<number>()
      bob.handle(PROTOCOL, HANDLING, async far => {
        await read.promise
        let count = 0
        for await (const got of far.frames) if (text(got.subarray(0, 1)) === 'x') count += 1
        seen.resolve(count)
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const frame = new Uint8Array(64 * 1024).fill(0x78)
      const wanted = (2 * MAX_ACCEPTED_BYTES) / frame.length
      let accepted = 0
      const sending = (async () => {
        while (accepted < wanted) {
          await channel.send(frame)
          accepted += 1
        }
      })()
      await stands(() => accepted)
      assert.ok(accepted * frame.length < MAX_ACCEPTED_BYTES, `${accepted * frame.length} bytes accepted`)
      read.resolve()
      await sending
      await channel.close()
      assert.equal(await seen.promise, wanted)
    })

    it('makes the sender of empty frames wait too', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, HANDLING, () => undefined)
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const TOO_MANY = 1_500_000
      let accepted = 0
      const sending = (async () => {
        for (; accepted < TOO_MANY; accepted++) {
          await channel.send(new Uint8Array(0))
          if (accepted % 5_000 === 0) await new Promise(resolve => setImmediate(resolve))
        }
      })()
      sending.catch(() => undefined) // the channel breaks at the end
      await stands(() => accepted)
      assert.ok(accepted < TOO_MANY, `${accepted} frames accepted`)
    })

    it('lets a waiting sender know when the channel breaks', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const served = Promise.withResolvers<Channel>()
      bob.handle(PROTOCOL, HANDLING, far => served.resolve(far))
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      let accepted = 0
      const sending = thrownBy(
        (async () => {
          for (;;) {
            await channel.send(new Uint8Array(64 * 1024))
            accepted += 1
          }
        })()
      )
      const inbound = await served.promise
      await stands(() => accepted)
      inbound.abort(new MusterError('refused'))
      assert.ok(isMusterError(await sending))
      assert.equal(channel.signal.aborted, true)
    })

    it('a handler that throws ends its channel and nothing else', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, HANDLING, echo)
      bob.handle('throws/1.0.0', HANDLING, () => {
        throw new Error('a bug')
      })
      bob.handle('rejects/1.0.0', HANDLING, () => Promise.reject(new Error('a bug')))
      const good = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      for (const protocol of ['throws/1.0.0', 'rejects/1.0.0']) {
        const failure = await failureOf(ana.open(bob.peerId, protocol, { ...LIMITS, first: [bytes('hello')] }))
        assert.ok(isMusterError(failure), String(failure))
      }
      const got = take(good, 1)
      await good.send(bytes('still here'))
      assert.deepEqual((await got).map(text), ['still here'])
    })

    it('says network-mismatch for a protocol the other side does not speak', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const undo = bob.handle(PROTOCOL, HANDLING, echo)
      assert.equal(await roundTrip(ana, bob, 'spoken'), 'spoken')
      undo()
      for (const protocol of [PROTOCOL, 'never/1.0.0']) {
        const failure = await failureOf(ana.open(bob.peerId, protocol, { ...LIMITS, first: [bytes('hello')] }))
        assert.ok(isMusterError(failure, 'network-mismatch'), String(failure))
      }
      assert.equal(ana.isConnected(bob.peerId), true)
    })

    it('says unreachable for a channel to somebody who is not connected', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      await rejectsWith('unreachable', ana.open(bob.peerId, PROTOCOL, LIMITS))
    })

    it('does not speak with another network', TEST, async () => {
      await using net = await make()
      const ana = await net.createNode({ network: 'here' })
      const bob = await net.createNode({ network: 'there' })
      assert.deepEqual([ana.network, bob.network], ['here', 'there'])
      let isServed = false
      bob.handle(PROTOCOL, HANDLING, () => {
        isServed = true
      })
      const failure = await thrownBy(
        (async () => {
          await ana.connect(addressOf(bob))
          throw await failureOf(ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('hello')] }))
        })()
      )
      assert.ok(isMusterError(failure, 'network-mismatch'), String(failure))
      assert.equal(isServed, false)
    })

    it('resets channels over the limit for one connection, and serves again when one is over', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      bob.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 2 }, echo)
      const open = (): Promise<Channel> => ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('hello')] })
      const held = [await open(), await open()]
      for (const channel of held) await take(channel, 1)
      const failure = await failureOf(open())
      assert.ok(isMusterError(failure), String(failure))
      held[0]?.abort(new MusterError('closed'))
      await eventually('a place is free', async () => {
        const channel = await open()
        return (await take(channel, 1)).length === 1
      })
    })

    it('ends every channel when the connection goes', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const served = Promise.withResolvers<Channel>()
      bob.handle(PROTOCOL, HANDLING, far => served.resolve(far))
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const inbound = await served.promise
      const gone = new Promise(resolve => ana.on('disconnect', resolve)) // a node may dial again to see who is alive
      await bob.disconnect(ana.peerId)
      await eventually('both ends know', () => channel.signal.aborted && inbound.signal.aborted)
      assert.deepEqual(await gone, { peerId: bob.peerId })
    })
  })
}

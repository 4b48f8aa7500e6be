import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Message, Value } from '../../src/peer/api.ts'
import { MAX_ACK_WAITS } from '../../src/peer/broadcasts/limits.ts'
import type { TopicGroup } from '../../src/peer/topics/group.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { BROADCASTS_BURST } from '../../src/shared/gossip/limits.ts'
import {
  ackCodec,
  BROADCAST_PROTOCOL,
  MAX_ACK_FRAME_BYTES,
  MAX_BROADCAST_BYTES
} from '../../src/shared/wire/broadcast.ts'
import { type FakePeer, Village } from '../support/fake-peer.ts'

interface Seat {
  readonly peer: FakePeer
  readonly group: TopicGroup
  readonly messages: Message[]
}

/** A bootstrap and peers in the lobby; all list each other. */
async function lobby(village: Village, count: number): Promise<Seat[]> {
  const { address } = await village.bootstrap()
  const seats: Seat[] = []
  for (let at = 0; at < count; at++) {
    const peer = await village.peer({ bootstrap: [address] })
    const group = await peer.join()
    const messages: Message[] = []
    group.on('message', message => messages.push(message))
    seats.push({ peer, group, messages })
    await village.pass(200)
  }
  await village.until('all list each other', 60_000, () =>
    seats.every(({ group }) => group.members().length === count - 1)
  )
  return seats
}

/** Lets simulated time pass until a promise is settled; signatures take real time. */
async function settled<T>(village: Village, promise: Promise<T>): Promise<T> {
  let isOver = false
  void promise.then(
    () => (isOver = true),
    () => (isOver = true)
  )
  for (let turn = 0; !isOver && turn < 2_000; turn++) {
    await village.pass(10)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  return await promise
}

async function heard(village: Village, sentence: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2_000; turn++) {
    if (holds()) return
    await village.pass(10)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  throw new Error(`never: ${sentence}`)
}

const rejectsWith = async (code: string, promise: Promise<unknown>): Promise<void> =>
  await assert.rejects(promise, thrown => isMusterError(thrown) && thrown.code === code)

describe('a broadcast in a group', () => {
  it('reaches every other member, once', async () => {
    await using village = new Village(3)
    const seats = await lobby(village, 16)
    const [ana, ...others] = seats
    assert.ok(ana !== undefined)
    const values: Value[] = [{ hello: 'everybody' }, '', false]
    for (const value of values) await settled(village, ana.group.broadcast(value))
    await heard(village, 'all have all', () => others.every(({ messages }) => messages.length === values.length))
    for (const { messages } of others) {
      assert.deepEqual(
        messages.map(({ value }) => value),
        values
      )
      assert.ok(messages.every(({ via, from }) => via === 'broadcast' && from === ana.peer.peerId))
    }
    assert.deepEqual(ana.messages, [])
  })

  it('still does while members die', async () => {
    await using village = new Village(4)
    let living = await lobby(village, 12)
    for (let round = 0; round < 5; round++) {
      const victim = living[(round * 5) % living.length] as Seat
      living = living.filter(each => each !== victim)
      await victim.peer.kill()
      await village.pass(1_000)
      const speaker = living[round % living.length] as Seat
      await settled(village, speaker.group.broadcast(round))
      await heard(village, `round ${round} is everywhere`, () =>
        living.every(each => each === speaker || each.messages.some(({ value }) => value === round))
      )
    }
    for (const { messages } of living) {
      const values = messages.map(({ value }) => value)
      assert.equal(new Set(values).size, values.length)
    }
  })

  it('waits for acknowledgements as long as it was told, or until all are there', async () => {
    await using village = new Village(5)
    const seats = await lobby(village, 4)
    const [ana, ben, cleo, dan] = seats
    assert.ok(ana !== undefined && ben !== undefined && cleo !== undefined && dan !== undefined)
    const all = await settled(village, ana.group.broadcast('who?', { ackMs: 600_000 }))
    assert.deepEqual(all.acknowledged.toSorted(), [ben, cleo, dan].map(({ peer }) => peer.peerId).toSorted())
    village.network.freeze(dan.peer.node)
    const some = await settled(village, ana.group.broadcast('and now?', { ackMs: 2_000 }))
    assert.deepEqual(some.acknowledged.toSorted(), [ben, cleo].map(({ peer }) => peer.peerId).toSorted())
  })

  it('counts no acknowledgement of somebody who is no member, nor one twice', async () => {
    await using village = new Village(6)
    const [ana, ben, cleo] = await lobby(village, 3)
    assert.ok(ana !== undefined && ben !== undefined && cleo !== undefined)
    village.network.freeze(cleo.peer.node)
    const stranger = await village.peer()
    await stranger.node.connect({ address: ana.peer.address })
    const { key } = await topicOf('lobby')
    ana.peer.feed.subscribe(ana.group.topicId, ({ sequence }) => {
      const first = [ackCodec.encode({ topic: key, sequence })]
      for (const { node } of [stranger, stranger, ben.peer]) {
        void node.open(ana.peer.peerId, BROADCAST_PROTOCOL, { first, maxFrameBytes: MAX_ACK_FRAME_BYTES })
      }
    })
    const { acknowledged } = await settled(village, ana.group.broadcast('who?', { ackMs: 5_000 }))
    assert.deepEqual(acknowledged, [ben.peer.peerId])
  })

  it('can be given up while it waits', async () => {
    await using village = new Village(7)
    const [ana, ben] = await lobby(village, 2)
    assert.ok(ana !== undefined && ben !== undefined)
    village.network.freeze(ben.peer.node)
    const controller = new AbortController()
    const waiting = ana.group.broadcast('who?', { ackMs: 600_000, signal: controller.signal })
    const ended = rejectsWith('aborted', waiting)
    await village.pass(100)
    controller.abort()
    await settled(village, ended)
    await rejectsWith('aborted', ana.group.broadcast('never', { signal: AbortSignal.abort() }))
  })

  it('is refused when it is no value, too long, or too much at once', async () => {
    await using village = new Village(8)
    const [ana] = await lobby(village, 2)
    assert.ok(ana !== undefined)
    await rejectsWith('value-invalid', ana.group.broadcast(undefined as unknown as Value))
    await rejectsWith('too-large', ana.group.broadcast(new Uint8Array(MAX_BROADCAST_BYTES + 1)))
    await rejectsWith('options-invalid', ana.group.broadcast('x', { ackMs: Number.NaN }))
    await settled(village, ana.group.broadcast(new Uint8Array(MAX_BROADCAST_BYTES)))
    const all = await settled(
      village,
      Promise.allSettled(Array.from({ length: BROADCASTS_BURST + 5 }, (_, at) => ana.group.broadcast(at)))
    )
    const refused = all.filter(({ status }) => status === 'rejected')
    assert.ok(refused.length >= 5, `${refused.length} refused`)
    for (const each of refused) assert.ok(each.status === 'rejected' && isMusterError(each.reason, 'limit-reached'))
    await village.pass(5_000)
    await settled(village, ana.group.broadcast('later'))
  })

  it('what is said at the allowed pace is passed on by everybody', async () => {
    await using village = new Village(9)
    const [ana, ben] = await lobby(village, 2)
    assert.ok(ana !== undefined && ben !== undefined)
    for (let at = 0; at < BROADCASTS_BURST; at++) await ana.group.broadcast(at)
    await heard(village, 'the burst arrives', () => ben.messages.length >= BROADCASTS_BURST)
    for (let at = 0; at < 40; at++) {
      await village.pass(50)
      await ana.group.broadcast(at)
    }
    await heard(village, 'the rest arrives', () => ben.messages.length === BROADCASTS_BURST + 40)
  })

  it('of a group that was left is an error', async () => {
    await using village = new Village(10)
    const [ana, ben] = await lobby(village, 2)
    assert.ok(ana !== undefined && ben !== undefined)
    await settled(village, ana.group.leave())
    await rejectsWith('closed', ana.group.broadcast('too late'))
    await settled(village, ben.group.broadcast('anybody?'))
    assert.deepEqual(ana.messages, [])
  })

  it('waits for so many at once and no more', async () => {
    await using village = new Village(11)
    const { address } = await village.bootstrap()
    const peer = await village.peer({ bootstrap: [address] })
    const groups = await Promise.all(Array.from({ length: 4 }, (_, at) => peer.join(`room ${at}`)))
    const others = await village.peer({ bootstrap: [address] })
    for (let at = 0; at < 4; at++) await others.join(`room ${at}`)
    await village.until('they meet', 60_000, () => groups.every(group => group.members().length === 1))
    village.network.freeze(others.node)
    const controller = new AbortController()
    const options = { ackMs: 600_000, signal: controller.signal }
    const waits = Array.from({ length: MAX_ACK_WAITS + 1 }, (_, at) => groups[at % 4]?.broadcast(at, options))
    const results = Promise.allSettled(waits)
    await village.pass(1_000)
    await new Promise(resolve => setTimeout(resolve, 100))
    controller.abort()
    const codes = (await settled(village, results)).map(each =>
      each.status === 'rejected' && isMusterError(each.reason) ? each.reason.code : 'none'
    )
    assert.equal(codes.filter(code => code === 'limit-reached').length, 1)
    assert.equal(codes.filter(code => code === 'aborted').length, MAX_ACK_WAITS)
  })
})

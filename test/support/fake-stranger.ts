import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import { MAX_RECORD_VALIDITY_MS } from '../../src/shared/roster/limits.ts'
import { signRecord } from '../../src/shared/roster/record.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, type TopicFrame, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { type FakePeer, plainSeal, type Village } from './fake-peer.ts'

// A stranger in a village, who speaks the topic protocol of the lobby and says what it likes.

export const lobby: Topic = await topicOf('lobby')

/** A record of somebody who exists nowhere else. */
export async function madeUpRecord(village: Village, peerId: string): Promise<Uint8Array> {
  const now = village.clock.now()
  const signer = { peerId, seal: (_domain: string, payload: Uint8Array) => plainSeal(peerId, payload) }
  const { envelope } = await signRecord(signer, {
    topicKey: lobby.key,
    sequence: now,
    issuedMs: now,
    expiresMs: now + MAX_RECORD_VALIDITY_MS,
    addresses: ['/ip4/10.99.0.1/tcp/1'],
    name: undefined,
    left: false
  })
  return envelope
}

export interface Stranger {
  say(frame: TopicFrame): Promise<void>
  /** Tells of `count` made-up members and calls each lost again, no faster than `victim` reads. */
  flood(count: number): Promise<void>
}

/** A topic stream to `victim` from a stranger who watches the lobby, or is a member of it. */
export async function strangerAt(village: Village, victim: FakePeer, isMember = false): Promise<Stranger> {
  const { node } = await village.peer()
  const connecting = node.connect({ peerId: victim.peerId, addresses: [victim.address] })
  await village.pass(200)
  await connecting
  const opening = node.open(victim.peerId, TOPIC_PROTOCOL, { maxFrameBytes: MAX_TOPIC_FRAME_BYTES })
  await village.pass(200)
  const channel = await opening
  void (async () => {
    for await (const _frame of channel.frames); // what is answered does not matter, but is read
  })().catch(() => undefined)
  const say = (frame: TopicFrame): Promise<void> => channel.send(topicFrameCodec.encode(frame))
  const own = isMember ? { envelope: await madeUpRecord(village, node.peerId) } : {}
  await say({ hello: { topic: lobby.key, ...own } })
  return {
    say,
    async flood(count) {
      for (let number = 1; number <= count; number++) {
        const peerId = `made up ${number}`
        await say({ update: { topic: lobby.key, envelope: await madeUpRecord(village, peerId) } })
        await say({ lost: { topic: lobby.key, peerId } })
        if (number % 100 === 0) await village.pass(1_000) // 200 frames a second
      }
      await village.pass(1_000)
    }
  }
}

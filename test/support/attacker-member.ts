import assert from 'node:assert/strict'
import { MusterError } from '../../src/shared/core/errors.ts'
import type { Scope } from '../../src/shared/core/lifecycle.ts'
import type { Topic } from '../../src/shared/core/topic.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { RECORD_DOMAIN } from '../../src/shared/roster/record.ts'
import {
  MAX_TOPIC_FRAME_BYTES,
  memberRecordCodec,
  TOPIC_PROTOCOL,
  type TopicFrame,
  topicFrameCodec
} from '../../src/shared/wire/topic.ts'
import { eventually } from './eventually.ts'
import { ourNode, placeOf } from './plain.ts'

// A stranger who speaks the topic protocol, and says in it what no member should.

type Signer = Pick<Node, 'peerId' | 'seal'>
type Claim = Partial<Parameters<typeof memberRecordCodec.encode>[0]>

/** A signed member record; `claim` says what is not as it should be. */
export async function envelopeOf(signer: Signer, { key }: Topic, claim: Claim = {}): Promise<Uint8Array> {
  const now = Date.now()
  const payload = memberRecordCodec.encode({
    topic: key,
    peerId: signer.peerId,
    sequence: now,
    issuedMs: now,
    expiresMs: now + 60_000,
    addresses: ['/ip4/127.0.0.1/tcp/9'],
    ...claim
  })
  return await signer.seal(RECORD_DOMAIN, payload)
}

/** Identities that exist nowhere but in their records. */
export async function madeUp(topic: Topic, count: number): Promise<Uint8Array[]> {
  return await Promise.all(Array.from({ length: count }, async () => await envelopeOf(await createIdentity(), topic)))
}

/** A node of the attacker's. */
export async function evilNode(scope: Scope, victim: Libp2pNode): Promise<Libp2pNode> {
  const evil = await ourNode(scope, { network: victim.network, quietStartMs: 60_000 })
  await evil.connect(placeOf(victim))
  return evil
}

export interface EvilLink {
  readonly channel: Channel
  /** Frames the victim sent. */
  readonly heard: TopicFrame[]
  say(...frames: readonly TopicFrame[]): Promise<void>
  /** Resolves once the victim has dealt with everything said so far: frames keep their order, and a HELLO is answered. */
  settled(topic: Topic): Promise<void>
}

/** A topic stream to the victim. What is said on a stream that is broken off is lost without a word. */
export async function evilLink(
  evil: Libp2pNode,
  victim: Libp2pNode,
  ...first: readonly TopicFrame[]
): Promise<EvilLink> {
  const channel = await evil.open(victim.peerId, TOPIC_PROTOCOL, {
    maxFrameBytes: MAX_TOPIC_FRAME_BYTES,
    first: first.map(frame => topicFrameCodec.encode(frame))
  })
  const heard: TopicFrame[] = []
  let asked = first.filter(({ hello }) => hello !== undefined).length
  void (async () => {
    try {
      for await (const frame of channel.frames) heard.push(topicFrameCodec.decode(frame))
    } catch {
      // broken off: `channel.signal` tells
    }
  })()
  const link: EvilLink = {
    channel,
    heard,
    async settled({ key }) {
      await link.say({ hello: { topic: key } })
      await eventually('the victim has read what was said', () => {
        assert.equal(channel.signal.aborted, false, 'the stream is broken')
        return heard.filter(({ members }) => members !== undefined).length >= asked
      })
    },
    async say(...frames) {
      for (const frame of frames) {
        if (frame.hello !== undefined) asked++
        try {
          await channel.send(topicFrameCodec.encode(frame))
        } catch (thrown) {
          if (!(thrown instanceof MusterError)) throw thrown
          return
        }
      }
    }
  }
  return link
}

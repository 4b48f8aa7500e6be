import { MusterError } from '../../src/shared/core/errors.ts'
import type { TopicId } from '../../src/shared/core/topic.ts'

/** A stand-in for a signed member record: the name of whoever presents it. */
export const envelopeOf = (peerId: string): Uint8Array => new TextEncoder().encode(peerId)

/** Membership without rosters: everybody is a member, except who calls itself `stranger`. */
export function membershipOf(self: string, topics: ReadonlySet<TopicId>) {
  return {
    ownEnvelope: (topicId: TopicId) => (topics.has(topicId) ? envelopeOf(self) : undefined),
    isKnown: () => true,
    async admit(_topicId: TopicId, peerId: string, envelope: Uint8Array) {
      const claimed = new TextDecoder().decode(envelope)
      if (claimed === 'stranger') throw new MusterError('not-a-member')
      if (claimed !== peerId) throw new MusterError('protocol-violation')
    }
  }
}

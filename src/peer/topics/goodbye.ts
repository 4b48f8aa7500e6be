import type { Topic } from '../../shared/core/topic.ts'
import type { Announcement } from './announce.ts'
import type { GroupNeeds } from './group-needs.ts'

/** Nodes told of our leaving when it is not known who took our provider record. */
const MAX_TOLD = 64
/** Milliseconds leaving waits for a provide that is under way: what arrives after the goodbye would outlive it. */
const STOP_PROVIDING_MS = 250

/** Tells everybody who shares the topic, and whoever may hold our provider record, that we leave; provides no more. */
export async function sayGoodbye(
  topic: Topic,
  announcement: Announcement | undefined,
  { roster, node, clock }: Pick<GroupNeeds, 'roster' | 'node' | 'clock'>
): Promise<void> {
  if (announcement !== undefined) {
    const stopped = Promise.withResolvers<void>()
    const undo = clock.after(STOP_PROVIDING_MS, () => stopped.resolve())
    await Promise.race([announcement.stopped, stopped.promise])
    undo()
  }
  const connected = node.connections().map(({ peerId }) => peerId)
  const holders = announcement?.areHoldersKnown === false ? connected.slice(0, MAX_TOLD) : []
  await roster.exit(topic.id, [...new Set([...(announcement?.holders ?? []), ...holders])])
}

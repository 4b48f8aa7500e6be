import type { PeerAddress, PeerId } from '../../shared/core/address.ts'
import { type Clock, sleep } from '../../shared/core/clock.ts'
import { type Closable, Scope } from '../../shared/core/lifecycle.ts'
import type { Log } from '../../shared/core/log.ts'
import { deadline } from '../../shared/core/signals.ts'
import type { Topic } from '../../shared/core/topic.ts'
import type { Node } from '../../shared/node/port.ts'

/** Milliseconds one walk through the DHT may take. */
const WALK_TIMEOUT_MS = 30_000
/** Pauses between look-ups while nobody is found, in milliseconds; the last one repeats. */
const LOOKUP_PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 15_000]
/** Pause between look-ups once members are known: only a group that fell apart still needs them. */
const LOOKUP_IDLE_MS = 5 * 60_000
/** Holders of our provider record remembered, to be told when we leave: those of the last rounds. */
const MAX_HOLDERS = 64
/** Pause after the first time somebody took it: a newcomer's routing table lacks nodes that are closer to the key. */
const PROVIDE_AGAIN_MS = 30_000
/** Pause before providing is tried again after nobody took it. */
const PROVIDE_RETRY_MS = 5_000

export interface AnnounceNeeds {
  readonly node: Pick<Node, 'dht'>
  readonly topic: Topic
  readonly clock: Clock
  readonly log: Log
  /** Somebody the DHT names: to be dialled before it is believed. */
  onCandidate(candidate: PeerAddress): void
  /** Whether members are known by now. */
  hasMembers(): boolean
}

/** A topic's side of the DHT: our provider record kept alive, and look-ups for others. */
export interface Announcement extends Closable {
  /** Nodes that took our provider record. */
  readonly holders: readonly PeerId[]
  /** False when a provide was cut short: some may hold it that are not among the holders. */
  readonly areHoldersKnown: boolean
  /** Resolves once closing has begun and nothing more is provided. */
  readonly stopped: Promise<void>
}

/** Provides the topic key, verified, again at a third of its validity, and looks for other providers meanwhile. */
export function announceTopic(needs: AnnounceNeeds, validityMs: number): Announcement {
  const scope = new Scope()
  const { node, topic, clock, log } = needs
  const holders = new Set<PeerId>()
  let isProviding = false

  async function provideForEver(): Promise<void> {
    let isFirst = true
    while (!scope.signal.aborted) {
      let isHeld = false
      isProviding = true
      try {
        using limit = deadline(WALK_TIMEOUT_MS, 'provide', scope.signal)
        for (const peerId of await node.dht.provide(topic.key, { signal: limit.signal })) {
          isHeld = true
          holders.delete(peerId) // the order is that of the last time
          holders.add(peerId)
        }
        isProviding = false
        for (const peerId of [...holders].slice(0, -MAX_HOLDERS)) holders.delete(peerId)
      } catch (thrown) {
        if (!scope.signal.aborted) log.debug({ err: thrown, topic: topic.id }, 'topic not provided')
      }
      const pauseMs = !isHeld ? PROVIDE_RETRY_MS : isFirst ? PROVIDE_AGAIN_MS : validityMs
      isFirst &&= !isHeld
      await sleep(clock, Math.min(pauseMs, validityMs / 3), scope.signal)
    }
  }

  async function lookUpForEver(): Promise<void> {
    for (let round = 0; !scope.signal.aborted; round++) {
      try {
        using limit = deadline(WALK_TIMEOUT_MS, 'look-up', scope.signal)
        for await (const candidate of node.dht.providers(topic.key, { signal: limit.signal }))
          needs.onCandidate(candidate)
      } catch (thrown) {
        if (!scope.signal.aborted) log.debug({ err: thrown, topic: topic.id }, 'topic not looked up')
      }
      const eager = LOOKUP_PAUSES_MS[Math.min(round, LOOKUP_PAUSES_MS.length - 1)] ?? LOOKUP_IDLE_MS
      // two that join at once look up before either has provided: a few rounds come in any case
      const pause = needs.hasMembers() && round >= LOOKUP_PAUSES_MS.length ? LOOKUP_IDLE_MS : eager
      await sleep(clock, pause, scope.signal)
    }
  }

  const stopped = provideForEver().catch(() => undefined) // they end by closing
  const looking = lookUpForEver().catch(() => undefined)
  scope.defer(async () => {
    await Promise.all([stopped, looking])
    await node.dht.unprovide(topic.key).catch(thrown => log.debug({ err: thrown }, 'own provider record not removed'))
  })
  return {
    get holders() {
      return [...holders]
    },
    get areHoldersKnown() {
      return !isProviding
    },
    stopped,
    signal: scope.signal,
    close: () => scope.close(),
    [Symbol.asyncDispose]: () => scope.close()
  }
}

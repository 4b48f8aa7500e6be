import assert from 'node:assert/strict'
import type { PeerId } from '../../src/shared/core/address.ts'
import { type Clock, systemClock } from '../../src/shared/core/clock.ts'
import type { Scope } from '../../src/shared/core/lifecycle.ts'
import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import { createFeed, type Feed, type Judged } from '../../src/shared/gossip/feed.ts'
import type { OpenedBroadcast } from '../../src/shared/gossip/open.ts'
import { unseal } from '../../src/shared/node/keys.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { openRecord, signRecord } from '../../src/shared/roster/record.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { broadcastCodec } from '../../src/shared/wire/broadcast.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'
import { eventually } from './eventually.ts'

export const SQUARE: Topic = await topicOf('square')

/** A node with the judge of broadcasts on it, in one topic, and what it heard: nothing of rosters and groups. */
export interface Crier {
  readonly node: Node
  readonly feed: Feed
  readonly store: Store
  readonly envelope: Uint8Array
  readonly heard: OpenedBroadcast[]
  /** How often each outcome was judged. */
  readonly judged: Partial<Record<Judged, number>>
  say(text: string): Promise<{ readonly sequence: number; readonly peers: readonly PeerId[] }>
}

export async function crier(
  scope: Scope,
  node: Node,
  { clock = systemClock, store = memoryStore() }: { clock?: Clock; store?: Store } = {}
): Promise<Crier> {
  const judged: Partial<Record<Judged, number>> = {}
  const feed = scope.own(
    await createFeed({
      node,
      openRecord: (record, atMs) => openRecord(record, unseal, atMs),
      datastore: store.datastore,
      clock,
      onJudged: outcome => {
        judged[outcome] = (judged[outcome] ?? 0) + 1
      }
    })
  )
  const envelope = await envelopeOf(node, clock.now())
  const heard: OpenedBroadcast[] = []
  feed.subscribe(SQUARE.id, broadcast => {
    if (broadcast.author !== node.peerId) heard.push(broadcast)
  })
  const say: Crier['say'] = async text => {
    const body = new TextEncoder().encode(text)
    return await feed.publish({ topicId: SQUARE.id, kind: VALUE_KIND.bytes, body, envelope, wantsAck: false })
  }
  return { node, feed, store, envelope, heard, judged, say }
}

/** A member record of a node, or of an identity without one, that counts for an hour. */
export async function envelopeOf(
  node: Pick<Node, 'peerId' | 'seal'> & { readonly addresses?: readonly string[] },
  now: number,
  topic: Topic = SQUARE
): Promise<Uint8Array> {
  const { envelope } = await signRecord(node, {
    topicKey: topic.key,
    sequence: now,
    issuedMs: now,
    expiresMs: now + 3_600_000,
    addresses: node.addresses ?? [],
    name: undefined,
    left: false
  })
  return envelope
}

/** The data of a broadcast, with anything said wrong that a test wants wrong. */
export function broadcastData(envelope: Uint8Array, now: number, said: object = {}): Uint8Array {
  return broadcastCodec.encode({
    sequence: now,
    sentMs: now,
    kind: VALUE_KIND.bytes,
    body: Uint8Array.of(1),
    envelope,
    ...said
  })
}

export function texts({ heard }: Pick<Crier, 'heard'>): string[] {
  return heard.map(({ body }) => new TextDecoder().decode(body))
}

/** Connects criers in a ring: two neighbours each. */
export async function ring(criers: readonly Crier[]): Promise<void> {
  for (const [at, { node }] of criers.entries()) {
    const next = criers[(at + 1) % criers.length]?.node
    assert.ok(next !== undefined)
    await node.connect({ peerId: next.peerId, addresses: next.addresses })
  }
  await eventually('each has its two neighbours', () =>
    criers.every(({ node }) => node.gossip.neighbours(SQUARE.id).length === 2)
  )
}

/** Those that `from` is connected to, over any number of living ones. */
export function reachable(from: Crier, living: readonly Crier[]): Crier[] {
  const found = new Set([from])
  for (const each of found) {
    for (const other of living) if (each.node.isConnected(other.node.peerId)) found.add(other)
  }
  return [...found].filter(each => each !== from)
}

import { hexOf } from '../../src/shared/core/bytes.ts'
import type { Undo } from '../../src/shared/core/lifecycle.ts'
import { type Random, seededRandom } from '../../src/shared/core/random.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { closestTo } from '../../src/shared/node/position.ts'
import { peekRecord } from '../../src/shared/records/record.ts'
import {
  MAX_RECORD_FRAME_BYTES,
  type NamedNode,
  RECORD_PROTOCOL,
  type RecordFrame,
  recordFrameCodec
} from '../../src/shared/wire/record.ts'
import { madeUpNodes } from './record-caller.ts'

// Nodes that serve the record protocol by hand, to do harm.

/**
 * What a node does to those who ask: gives the first version it ever saw, gives nothing, gives bytes that are no record, a
 * record of another key, a frame that is none, no answer at all, or twenty nodes near the key that nobody is. To those who
 * store, it says that it has.
 */
export type Hostility = 'old' | 'nothing' | 'garbage' | 'another' | 'broken' | 'silent' | 'liar'

export interface HostileServer {
  /** Envelopes by place in hex: what they saw first. Several nodes may share one. */
  readonly first: Map<string, Uint8Array>
  /** Requests that came. */
  readonly asked: { find: number; store: number; offers: number }
  readonly stop: Undo
}

export interface HostileOptions {
  readonly first?: Map<string, Uint8Array>
  readonly random?: Random
  /** Whom it names when asked: by default those it really knows. */
  closer?(place: Uint8Array): readonly NamedNode[]
}

/** Made-up nodes a liar knows: twice as many as there are nodes in a town. */
const MADE_UP = 100
const NAMED = 20

/** What every hostile node knows together. */
export function conspiracy(): Map<string, Uint8Array> {
  return new Map()
}

export function serveHostile(
  node: Pick<Node, 'handle' | 'dht'>,
  hostility: Hostility,
  { first = conspiracy(), random = seededRandom(1), closer }: HostileOptions = {}
): HostileServer {
  const names = closer ?? (hostility === 'liar' ? liesOf(random) : place => namesOf(node, place))
  const asked = { find: 0, store: 0, offers: 0 }
  const found = (place: Uint8Array): Uint8Array | undefined => {
    if (hostility === 'old') return first.get(hexOf(place))
    if (hostility === 'garbage') return Uint8Array.from({ length: 200 }, () => random() * 256)
    if (hostility === 'another') return [...first].find(([row]) => row !== hexOf(place))?.[1]
    return undefined
  }
  const answer = ({ find, store, offers }: RecordFrame): RecordFrame | Uint8Array | undefined => {
    if (find !== undefined) {
      asked.find++
      if (hostility === 'broken') return Uint8Array.from({ length: 100 }, () => random() * 256)
      const envelope = found(find.place)
      return {
        found: { id: find.id, closer: names(find.place), ...(envelope === undefined ? {} : { envelope }) }
      }
    }
    if (store !== undefined) {
      asked.store++
      remember(first, store.envelope)
      const named = hostility === 'liar' ? names(peekRecord(store.envelope).place) : []
      return { stored: { id: store.id, closer: named } }
    }
    if (offers === undefined) return undefined
    asked.offers++
    return { wanted: { id: offers.id, places: [] } }
  }
  const stop = serveByHand(node, frame => {
    const said = hostility === 'silent' ? undefined : answer(frame)
    return said === undefined ? [] : [said]
  })
  return { first, asked, stop }
}

/** Serves the record protocol with whatever `respond` says to a frame; an `Error` breaks the stream off. */
export function serveByHand(
  node: Pick<Node, 'handle'>,
  respond: (frame: RecordFrame) => ReadonlyArray<RecordFrame | Uint8Array | Error>
): Undo {
  const serve = async (channel: Channel): Promise<void> => {
    for await (const frame of channel.frames) {
      for (const said of respond(recordFrameCodec.decode(frame))) {
        if (said instanceof Error) channel.abort(said)
        else await channel.send(said instanceof Uint8Array ? said : recordFrameCodec.encode(said))
      }
    }
  }
  return node.handle(
    RECORD_PROTOCOL,
    { maxFrameBytes: MAX_RECORD_FRAME_BYTES, maxInboundPerConnection: 8 },
    channel => serve(channel).catch(() => undefined) // whoever asks may go away
  )
}

/** Whom an honest node would name. */
export function namesOf(node: Pick<Node, 'dht'>, place: Uint8Array): NamedNode[] {
  return node.dht.closest(place, NAMED).map(({ peerId, addresses }) => ({ peerId, addresses: addresses.slice(0, 8) }))
}

function liesOf(random: Random): (place: Uint8Array) => NamedNode[] {
  const made = madeUpNodes(new Uint8Array(32), MADE_UP, Math.floor(random() * 2 ** 32), 1)
  return place => closestTo(place, made, NAMED, ({ peerId }) => peerId)
}

function remember(first: Map<string, Uint8Array>, envelope: Uint8Array): void {
  const row = hexOf(peekRecord(envelope).place)
  if (!first.has(row)) first.set(row, envelope.slice())
}

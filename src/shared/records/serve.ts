import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { asError, MusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import { TokenBuckets } from '../node/buckets.ts'
import type { Channel, Node } from '../node/port.ts'
import {
  MAX_CLOSER_ADDRESSES,
  MAX_CLOSER_NODES,
  MAX_RECORD_FRAME_BYTES,
  type NamedNode,
  PLACE_BYTES,
  RECORD_PROTOCOL,
  type RecordFrame,
  recordFrameCodec
} from '../wire/record.ts'
import * as limits from './limits.ts'
import { peekRecord, type SignedRecord } from './record.ts'
import type { Shelf, Taken } from './shelf.ts'
import { Watches } from './watches.ts'

export interface ServeNeeds {
  readonly node: Pick<Node, 'handle' | 'dht'>
  readonly shelf: Pick<Shelf, 'get' | 'takePeeked' | 'wants'>
  readonly clock: Clock
  readonly log: Log
  /** A request was dealt with. */
  onRequest?(kind: 'find' | 'store' | 'offers', outcome: 'ok' | Exclude<Taken['outcome'], 'stored'> | 'rate'): void
}

type Answer = Pick<RecordFrame, 'found' | 'stored' | 'wanted' | 'refusal'>

/** Serves the record protocol (docs/protocols/records.md) and tells of changes to those who watch. */
export class Serving {
  readonly #needs: ServeNeeds
  readonly #requests = new TokenBuckets(
    limits.RECORD_REQUESTS_PER_SECOND,
    limits.RECORD_REQUESTS_BURST,
    limits.MAX_RATED_PEERS
  )
  readonly #newKeys = new TokenBuckets(limits.NEW_KEYS_PER_SECOND, limits.NEW_KEYS_BURST, limits.MAX_RATED_PEERS)
  readonly #watches: Watches
  /** Changes on their way. */
  readonly #unsent = new WeakMap<Channel, number>()

  constructor(needs: ServeNeeds) {
    this.#needs = needs
    this.#watches = new Watches(needs.clock)
  }

  /** Until the returned undo is called. */
  start(): Undo {
    return this.#needs.node.handle(
      RECORD_PROTOCOL,
      {
        maxFrameBytes: MAX_RECORD_FRAME_BYTES,
        maxInboundPerConnection: limits.MAX_RECORD_STREAMS_PER_CONNECTION
      },
      channel => this.#serve(channel)
    )
  }

  /** A record was put down here. */
  changed(record: SignedRecord): void {
    const frame = recordFrameCodec.encode({ changed: { envelope: record.envelope } })
    for (const channel of this.#watches.of(record.place)) this.#push(channel, frame)
  }

  #push(channel: Channel, frame: Uint8Array): void {
    const unsent = this.#unsent.get(channel) ?? 0
    if (unsent >= limits.MAX_UNSENT_CHANGES) {
      channel.abort(new MusterError('limit-reached', 'whoever watches does not read'))
      return
    }
    this.#unsent.set(channel, unsent + 1)
    const onSent = (): void => void this.#unsent.set(channel, (this.#unsent.get(channel) ?? 1) - 1)
    channel.send(frame.slice()).then(onSent, onSent) // when it is gone, its reader has ended
  }

  async #serve(channel: Channel): Promise<void> {
    const underWay = new Set<Promise<void>>()
    try {
      for await (const frames of channel.batches) {
        for (const bytes of frames) {
          const answering: Promise<void> = this.#answer(channel, recordFrameCodec.decode(bytes))
            .then(answer => channel.send(recordFrameCodec.encode(answer))) // whoever does not read is not answered further
            .catch(thrown => channel.abort(asError(thrown)))
            .finally(() => underWay.delete(answering))
          underWay.add(answering)
          if (underWay.size >= limits.MAX_REQUESTS_UNDER_WAY) await Promise.race(underWay)
        }
      }
      await Promise.all(underWay)
      await channel.close()
    } finally {
      this.#watches.drop(channel)
    }
  }

  async #answer(channel: Channel, frame: RecordFrame): Promise<Answer> {
    const { peerId } = channel
    const { find, store, offers, ...others } = frame
    const request = find ?? store ?? offers
    if (request === undefined || Object.keys(frame).length !== 1 || Object.keys(others).length > 0) {
      throw new MusterError('protocol-violation', 'a record frame that is not exactly one request')
    }
    const kind = find !== undefined ? 'find' : store !== undefined ? 'store' : 'offers'
    const cost = find !== undefined ? 1 : store !== undefined ? 2 : 1 + (offers?.records.length ?? 0) / 16
    if (!this.#requests.take(peerId, this.#needs.clock.now(), cost)) {
      this.#needs.onRequest?.(kind, 'rate')
      return { refusal: { id: request.id, code: 'limit-reached' } }
    }
    if (store !== undefined) return { stored: await this.#store(peerId, store) }
    this.#needs.onRequest?.(kind, 'ok')
    if (find !== undefined) return { found: await this.#find(channel, find) }
    const { id, records } = offers as NonNullable<typeof offers>
    const wanted = records.filter(({ place, ...version }) => this.#needs.shelf.wants(judged(place), version))
    return { wanted: { id, places: wanted.map(({ place }) => place) } }
  }

  async #find(
    channel: Channel,
    { id, place, watch }: NonNullable<RecordFrame['find']>
  ): Promise<NonNullable<RecordFrame['found']>> {
    if (watch === true) this.#watches.add(channel, judged(place).slice())
    const envelope = await this.#needs.shelf.get(judged(place))
    return { id, ...(envelope === undefined ? {} : { envelope }), closer: this.#closer(place, channel.peerId) }
  }

  async #store(
    from: PeerId,
    { id, envelope, wantsCloser }: NonNullable<RecordFrame['store']>
  ): Promise<NonNullable<RecordFrame['stored']>> {
    const { shelf, clock, onRequest } = this.#needs
    const claimed = peeked(envelope)
    const taken: Taken =
      claimed === undefined
        ? { outcome: 'refused', code: 'malformed' }
        : await shelf.takePeeked(claimed, () => this.#newKeys.take(from, clock.now()))
    onRequest?.('store', taken.outcome === 'stored' ? 'ok' : taken.outcome)
    const closer = wantsCloser === true ? this.#closer(claimed?.place, from) : []
    if (taken.outcome === 'stored') return { id, closer }
    if (taken.outcome === 'refused') return { id, refusal: taken.code, closer }
    return { id, refusal: 'older', ...(taken.newer === undefined ? {} : { newer: taken.newer }), closer }
  }

  #closer(place: Uint8Array | undefined, asker: PeerId): NamedNode[] {
    if (place === undefined) return []
    return this.#needs.node.dht
      .closest(place, MAX_CLOSER_NODES)
      .filter(({ peerId, addresses }) => peerId !== asker && addresses.length > 0)
      .map(({ peerId, addresses }) => ({ peerId, addresses: addresses.slice(0, MAX_CLOSER_ADDRESSES) }))
  }
}

function judged(place: Uint8Array): Uint8Array {
  if (place.length !== PLACE_BYTES) throw new MusterError('protocol-violation', `a place of ${place.length} bytes`)
  return place
}

function peeked(envelope: Uint8Array): SignedRecord | undefined {
  try {
    return peekRecord(envelope)
  } catch {
    return undefined // it is refused as malformed
  }
}

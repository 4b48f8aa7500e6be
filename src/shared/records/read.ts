import type { PeerId } from '../core/address.ts'
import { hexOf } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import type { Node, Unseal } from '../node/port.ts'
import { Frontier } from './frontier.ts'
import { placeOf, type RecordKey } from './key.ts'
import * as limits from './limits.ts'
import type { Lines } from './lines.ts'
import type { OwnRecord, OwnRecords } from './own.ts'
import type { SignedRecord } from './record.ts'
import type { Seen } from './seen.ts'
import type { Shelf } from './shelf.ts'
import { Tally } from './tally.ts'
import { walk } from './walk.ts'

export interface ReaderNeeds {
  readonly node: Pick<Node, 'peerId' | 'dht'>
  readonly lines: Lines
  readonly shelf: Pick<Shelf, 'get'>
  readonly own: Pick<OwnRecords, 'get'>
  readonly seen: Seen
  readonly unseal: Unseal
  readonly clock: Clock
}

export interface Found {
  readonly record: SignedRecord
  /** Nodes that gave exactly this record, and nodes that answered at all, this one included when it holds it. */
  readonly holders: number
  readonly answers: number
}

export interface Read {
  /** Holders that must agree for an early end. */
  readonly quorum: number
  /** Ask to be told of changes, too. */
  readonly watch: boolean
}

/** Stores of a repair that run at once, over all reads. */
const PARALLEL_REPAIRS = 10

/** Asks the nodes closest to a key, and takes the newest of what is valid. */
export class Reader {
  readonly #needs: ReaderNeeds
  readonly #signal: AbortSignal
  readonly #repairs = new Slots(PARALLEL_REPAIRS)
  /** Those under way or waiting, by node and place. */
  readonly #repairing = new Set<string>()

  /** Repairs end with `signal`. */
  constructor(needs: ReaderNeeds, signal: AbortSignal) {
    this.#needs = needs
    this.#signal = signal
  }

  /**
   * The newest version of a key, tombstones and expired ones included; undefined when nobody has any.
   * @throws MusterError `unreachable` | `record-invalid`; the signal's reason, unless something was found by then.
   */
  async read(key: RecordKey, { quorum, watch }: Read, signal: AbortSignal): Promise<Found | undefined> {
    const { node, lines, shelf, own, seen, unseal, clock } = this.#needs
    const place = placeOf(key)
    const tally = new Tally(place, unseal, () => clock.now())
    const ours = confirmed(own.get(place))
    for (const known of [seen.get(place), ours]) if (known !== undefined) tally.know(known)
    const held = await shelf.get(place)
    if (held !== undefined) await tally.take(node.peerId, held)
    const frontier = new Frontier(place, node.peerId, node.dht.closest(place, limits.REPLICAS))
    let answered = 0
    const enough = Math.max(quorum, limits.MIN_ANSWERS)
    // what is stored under its own hash proves itself
    const isProven = (): boolean =>
      key.kind === 'content' && tally.best !== undefined && tally.best.expiresMs > clock.now()
    try {
      await walk({
        clock,
        frontier,
        signal,
        // once somebody has it, no more are asked than have to answer
        parallel: () => Math.max(1, enough - (tally.best === undefined ? 0 : answered)),
        ask: async target => {
          const answer = await lines.ask(target, 'find', { place, ...(watch ? { watch } : {}) }, signal)
          await tally.take(target.peerId, answer.envelope)
          answered++
          return answer.closer
        },
        isEnough: () => isProven() || (tally.holders >= quorum && frontier.haveAnswered(enough))
      })
    } catch (thrown) {
      // what is valid and was found in time is an answer, with few holders
      if (!isMusterError(thrown, 'timed-out') || tally.answers === 0) throw asMusterError(thrown, 'aborted')
    }
    const { best, holders, answers, invalid } = tally
    if (answers === 0 && ours === undefined && !isProven())
      throw new MusterError('unreachable', 'no node could be asked')
    if (best === undefined) {
      if (invalid > 0 && 2 * invalid > answers) {
        throw new MusterError('record-invalid', `${invalid} of ${answers} nodes gave something that is no record`)
      }
      return undefined
    }
    seen.add(best)
    this.#repair(best, frontier, tally.stale())
    return { record: best, holders, answers }
  }

  /**
   * Nodes that should hold a record and gave an older one, or none, get it; nobody waits for that. Where one does not take
   * it, or too much waits already, the next read or the next republishing tries again.
   */
  #repair({ envelope, expiresMs, place }: SignedRecord, frontier: Frontier, stale: readonly PeerId[]): void {
    const { lines, clock } = this.#needs
    if (expiresMs <= clock.now()) return
    for (const target of frontier.closest().filter(({ peerId }) => stale.includes(peerId))) {
      const repair = `${target.peerId} ${hexOf(place)}`
      if (this.#repairing.has(repair) || this.#repairing.size >= limits.MAX_REPAIRS) continue
      this.#repairing.add(repair)
      this.#repairs
        .run(() => lines.ask(target, 'store', { envelope }, this.#signal), this.#signal)
        .catch(() => undefined)
        .finally(() => this.#repairing.delete(repair))
    }
  }
}

/** One of our own that others have: what is being written, or was cut off, is not read before. */
function confirmed(own: OwnRecord | undefined): SignedRecord | undefined {
  return own !== undefined && own.stored > 0 ? own.record : undefined
}

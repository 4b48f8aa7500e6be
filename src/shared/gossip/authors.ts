import { type Datastore, Key } from 'interface-datastore'
import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { TopicId } from '../core/topic.ts'
import { codec } from '../wire/codec.ts'
import {
  AUTHOR_ROWS_MS,
  BROADCAST_AUTHOR_MS,
  BROADCAST_WINDOW,
  BROADCASTS_BURST_SEEN,
  MAX_BROADCAST_AUTHORS
} from './limits.ts'
import { type AuthorState, type Claim, type Step, step } from './step.ts'

const PREFIX = '/muster/broadcast/seen'

const rowCodec = codec({
  highest: { id: 1, type: 'uint64', required: true },
  came: { id: 2, type: 'bytes', max: BROADCAST_WINDOW / 8, required: true },
  sentMs: { id: 3, type: 'uint64', required: true },
  seenMs: { id: 4, type: 'uint64', required: true }
})

/**
 * Which broadcasts of whom have come, in memory and on disk, one row for each author and topic:
 * `/muster/broadcast/seen/<topic key>/<peer id>`. Rows follow within {@link AUTHOR_ROWS_MS}, and at closing.
 */
export class Authors {
  readonly #datastore: Datastore
  readonly #clock: Clock
  readonly #log: Log
  readonly #max: number
  /** By topic and author, the one heard of longest ago first. */
  readonly #states = new Map<string, AuthorState>()
  readonly #unsaved = new Set<string>()
  /** What unknown authors said no later than this was perhaps said by one that had to make room. */
  #floorMs = 0
  #saving: Promise<void> | undefined
  #undoSave: (() => void) | undefined

  constructor(datastore: Datastore, clock: Clock, log: Log, max = MAX_BROADCAST_AUTHORS) {
    this.#datastore = datastore
    this.#clock = clock
    this.#log = log
    this.#max = max
  }

  get size(): number {
    return this.#states.size
  }

  /** Brings back what an earlier run remembered. */
  async load(): Promise<void> {
    const rows: Array<[string, AuthorState]> = []
    for await (const { key, value } of this.#datastore.query({ prefix: PREFIX })) {
      const state = readRow(value)
      if (state === undefined || this.#isPast(state)) await this.#datastore.delete(key)
      else rows.push([key.toString().slice(PREFIX.length + 1), state])
    }
    for (const [name, state] of rows.sort(([, a], [, b]) => a.seenMs - b.seenMs)) this.#states.set(name, state)
    this.#makeRoom()
  }

  /** Judges a broadcast of `author`, and remembers it when it is fresh. */
  judge(topicId: TopicId, author: PeerId, claim: Claim): Step {
    const name = `${topicId}/${author}`
    const [next, outcome] = step(this.#states.get(name), claim, this.#clock.now(), this.#floorMs)
    if (outcome === 'rate' && next !== undefined) this.#states.set(name, next) // its tokens, which are not on disk
    if (outcome !== 'fresh' || next === undefined) return outcome
    this.#states.delete(name) // the map's order is that of the last broadcast
    this.#states.set(name, next)
    this.#unsaved.add(name)
    this.#makeRoom()
    this.#undoSave ??= this.#clock.after(AUTHOR_ROWS_MS, () => void this.save())
    return outcome
  }

  /** Writes what has changed; never rejects. */
  async save(): Promise<void> {
    this.#undoSave?.()
    this.#undoSave = undefined
    while (this.#saving !== undefined) await this.#saving
    if (this.#unsaved.size === 0) return
    this.#saving = this.#write([...this.#unsaved])
    this.#unsaved.clear()
    await this.#saving
    this.#saving = undefined
  }

  async #write(names: readonly string[]): Promise<void> {
    const batch = this.#datastore.batch()
    for (const name of names) {
      const state = this.#states.get(name)
      if (state === undefined) batch.delete(keyOf(name))
      else {
        const { highest, came, sentMs, seenMs } = state
        batch.put(keyOf(name), rowCodec.encode({ highest, came, sentMs, seenMs }))
      }
    }
    try {
      await batch.commit()
    } catch (err) {
      this.#log.error({ err }, 'which broadcasts came is not on disk')
    }
  }

  #makeRoom(): void {
    for (const [name, state] of this.#states) {
      const isPast = this.#isPast(state)
      if (!isPast && this.#states.size <= this.#max) return
      this.#states.delete(name)
      this.#unsaved.add(name)
      // an author with a clock ahead must not shut out all others: its own replays may pass instead
      if (!isPast) this.#floorMs = Math.max(this.#floorMs, Math.min(state.sentMs, state.seenMs))
    }
  }

  #isPast({ seenMs }: AuthorState): boolean {
    return seenMs < this.#clock.now() - BROADCAST_AUTHOR_MS
  }
}

function keyOf(name: string): Key {
  return new Key(`${PREFIX}/${name}`)
}

function readRow(value: Uint8Array): AuthorState | undefined {
  try {
    const { highest, came, sentMs, seenMs } = rowCodec.decode(value)
    if (came.length !== BROADCAST_WINDOW / 8) return undefined
    return { highest, came, sentMs, seenMs, tokens: BROADCASTS_BURST_SEEN, countedMs: seenMs }
  } catch {
    return undefined // of another version, or damaged: the time window is left
  }
}

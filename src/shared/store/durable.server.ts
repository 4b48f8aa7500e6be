import type { ClassicLevel } from 'classic-level'
import { LevelDatastore } from 'datastore-level'
import type { Batch, Key } from 'interface-datastore'
import { asError } from '../core/errors.ts'
import { raceSignal } from '../core/signals.ts'
import type { Durability } from './port.ts'

type Row = { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
type Write = Row | { readonly type: 'del'; readonly key: string }
type WaitOptions = { signal?: AbortSignal }
/** Hears why the first write failed; what it returns is what that one and all later ones reject with. */
export type OnFailure = (thrown: unknown) => Error

/** libp2p's address book: hundreds of writes for one query, told again by anybody, and asked for by no user. */
const NOT_SYNCED = '/peers/'

/**
 * LevelDB rows whose acknowledged writes are on the disk (`fdatasync`), not only with the operating system, except
 * those under `/peers`. A sync costs the same for one row as for many, so writes that come while one is under way
 * wait and go together in the next.
 *
 * After a write has failed, e.g. on a full disk, no other is tried. LevelDB may have left half a record in its log: it
 * would go on behind it when there is room again, and what follows a broken record is not read after the next start.
 */
export class DurableDatastore extends LevelDatastore {
  readonly #level: ClassicLevel<string, Uint8Array>
  readonly #durability: Durability
  readonly #onFailure: OnFailure
  #failure: Error | undefined
  #waiting: Write[] = []
  #next: Promise<void> | undefined
  #running: Promise<void> = Promise.resolve()

  /**
   * Takes an open database with keys as `utf8` and values as `view`, and closes it with itself. With `fast` nothing is
   * synced: it survives `kill -9`, not a power cut.
   */
  constructor(
    level: ClassicLevel<string, Uint8Array>,
    durability: Durability = 'sync',
    onFailure: OnFailure = asError
  ) {
    super(level as ConstructorParameters<typeof LevelDatastore>[0]) // `level` is `classic-level` under Node
    this.#level = level
    this.#durability = durability
    this.#onFailure = onFailure
  }

  override async put(key: Key, value: Uint8Array, options?: WaitOptions): Promise<Key> {
    await this.#write([{ type: 'put', key: key.toString(), value }], options)
    return key
  }

  override async delete(key: Key, options?: WaitOptions): Promise<void> {
    await this.#write([{ type: 'del', key: key.toString() }], options)
  }

  override batch(): Batch {
    const writes: Write[] = []
    return {
      put: (key, value) => {
        writes.push({ type: 'put', key: key.toString(), value })
      },
      delete: key => {
        writes.push({ type: 'del', key: key.toString() })
      },
      commit: options => this.#write(writes.splice(0), options)
    }
  }

  /** Waits for the writes under way. */
  override async close(): Promise<void> {
    while (this.#next !== undefined) await this.#running
    await this.#running
    await super.close()
  }

  async #write(writes: Write[], { signal }: WaitOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const done = writes.every(({ key }) => key.startsWith(NOT_SYNCED)) ? this.#batch(writes, false) : this.#sync(writes)
    await (signal === undefined ? done : raceSignal(done, signal))
  }

  #sync(writes: Write[]): Promise<void> {
    this.#waiting.push(...writes)
    if (this.#next === undefined) {
      const next = this.#running.then(async () => {
        const together = this.#waiting
        this.#waiting = []
        this.#next = undefined
        await this.#batch(together, this.#durability === 'sync')
      })
      this.#next = next
      this.#running = next.catch(() => undefined) // each writer hears of its failure itself
    }
    return this.#next
  }

  async #batch(writes: Write[], sync: boolean): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    try {
      await this.#level.batch(writes, { sync })
    } catch (thrown) {
      if (this.#level.status !== 'open') throw thrown // closed: no fault of the disk
      this.#failure ??= this.#onFailure(thrown)
      throw this.#failure
    }
  }
}

import { startProfile } from '../../common/profile.ts'
import type { Kind } from '../contestants.ts'
import type { Spent } from '../measure.ts'

/** What was stored, and what it is found by. */
export interface Entry {
  readonly key: unknown
  readonly value: Uint8Array
}

/** One way to build the same network: nodes of a DHT, the last of which in each process reads and writes. */
export interface Stack {
  /**
   * Starts `count` nodes in this process, on `host`. Without a bootstrap the first one becomes it.
   * Resolves with the address of the first, in the form others take.
   */
  nodes(count: number, host: string, bootstrap: string | undefined): Promise<string>
  /** Lets each node learn of others: by itself the first time, and by a look-up. */
  settle(): Promise<void>
  /** How many others each node of this process has in its routing table. */
  tables(): Promise<number[]>
  /** Stores each value under a fresh key, one after the other. */
  put(kind: Kind, values: readonly Uint8Array[]): Promise<Spent & { readonly entries: Entry[] }>
  /** Reads them, one after the other. What is found must be what was stored. */
  get(kind: Kind, entries: readonly Entry[]): Promise<Spent>
  /** User and system time of this process so far. */
  cpuMs(): Promise<number>
  /** Begins a CPU profile of this process. */
  startProfile(): Promise<void>
  /** Ends it, and writes it to a file. */
  writeProfile(file: string): Promise<void>
}

let write: Awaited<ReturnType<typeof startProfile>> | undefined

/** What is the same in every stack. */
export const observed: Pick<Stack, 'cpuMs' | 'startProfile' | 'writeProfile'> = {
  async cpuMs() {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  async startProfile() {
    write = await startProfile()
  },
  async writeProfile(file) {
    await write?.(file)
    write = undefined
  }
}

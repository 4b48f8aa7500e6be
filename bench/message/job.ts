/**
 * What is measured.
 * - `round trip`: a request, its answer, the next request.
 * - `in flight`: as many requests under way as {@link IN_FLIGHT} says.
 * - `one way`: messages as fast as they are taken.
 * - `bulk`: one value of `bytes` bytes.
 */
export type Kind = 'round trip' | 'in flight' | 'one way' | 'bulk'

/** A fixed amount of work. */
export interface Job {
  readonly kind: Kind
  /** Of each message; of the whole value for `bulk`. */
  readonly bytes: number
  /** Messages; 1 for `bulk`. */
  readonly count: number
}

/** Requests under way at once. */
export const IN_FLIGHT = 64

/** What a job took at one end. Times are on the machine's monotonic clock, the same for all processes. */
export interface Spent {
  readonly startNs: bigint
  readonly endNs: bigint
  /** User and system time of this process. */
  readonly cpuUs: number
  /** Of a round trip each. */
  readonly latenciesUs?: Float64Array
}

/** One end of a pair; each runs in a process of its own. */
export interface Stack {
  /** Becomes the end that answers. Resolves with what `dial` of the other one takes. */
  listen(entry: string): Promise<string>
  /** Becomes the end that asks. `entry` is the file Muster is loaded from. */
  dial(address: string, entry: string): Promise<void>
  /** At the end that answers: the next job begins. */
  expect(job: Job): Promise<void>
  /** At the end that asks: does the job. Rejects when an answer is not what was asked. */
  run(job: Job): Promise<Spent>
  /** At the end that answers: resolves once all has come; rejects when it is not what was sent. */
  arrived(): Promise<Spent>
}

/** Notes what this process spends from now on. */
export function stopwatch(): (extra?: Pick<Spent, 'latenciesUs'>, endNs?: bigint) => Spent {
  const before = process.cpuUsage()
  const startNs = process.hrtime.bigint()
  return (extra = {}, endNs = process.hrtime.bigint()) => {
    const { user, system } = process.cpuUsage(before)
    return { startNs, endNs, cpuUs: user + system, ...extra }
  }
}

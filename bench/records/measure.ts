/** What a number of operations, one after the other, took in the process that asked for them. */
export interface Spent {
  /** Of those that succeeded. */
  readonly latenciesMs: Float64Array
  readonly failed: number
  /** What was thrown first. */
  readonly failure?: string
  /** User and system time of this process, all threads, for all of them. */
  readonly cpuMs: number
  /** Requests that left this process. */
  readonly requests: number
  /** Nodes that took the value, over all puts. */
  readonly stored: number
}

/** Longest time for one operation. */
const OPERATION_MS = 10_000

/**
 * Runs `count` operations one after the other; each resolves with the number of nodes that stored something.
 * `requests` tells how many this process has sent so far.
 */
export async function measure(
  count: number,
  requests: () => number,
  run: (index: number) => Promise<number>
): Promise<Spent> {
  const latenciesMs: number[] = []
  let [failed, stored] = [0, 0]
  let failure: string | undefined
  const requestsBefore = requests()
  const cpuBefore = process.cpuUsage()
  for (let i = 0; i < count; i++) {
    const start = performance.now()
    try {
      stored += await inTime(run(i))
      latenciesMs.push(performance.now() - start)
    } catch (thrown) {
      failed++
      failure ??= String((thrown as AggregateError).errors?.[0] ?? thrown)
    }
  }
  const { user, system } = process.cpuUsage(cpuBefore)
  const sent = requests() - requestsBefore
  return {
    latenciesMs: Float64Array.from(latenciesMs),
    failed,
    ...(failure === undefined ? {} : { failure }),
    cpuMs: (user + system) / 1000,
    requests: sent,
    stored
  }
}

async function inTime<T>(doing: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`not done within ${OPERATION_MS} ms`)), OPERATION_MS)
  try {
    return await Promise.race([doing, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Throws unless what was read is what was written. */
export function checkValue(got: Uint8Array | undefined | null, wanted: Uint8Array): void {
  if (got === undefined || got === null) throw new Error('not found')
  if (Buffer.compare(got, wanted) !== 0) throw new Error('found something else than was written')
}

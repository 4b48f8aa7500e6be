import type { Clock } from '../core/clock.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import { DEFAULT_DEADLINE_MS } from '../core/signals.ts'

export interface Patience {
  readonly clock: Clock
  /** What is waited for, as the start of a sentence: it becomes the message of `timed-out`. */
  readonly what: string
  readonly signals: ReadonlyArray<AbortSignal | undefined>
  readonly ms?: number
}

export interface Settle<T> {
  resolve(value: T): void
  reject(error: Error): void
}

/**
 * A promise that `start` settles, with the deadline on the network's own clock; `start` may return its own undo,
 * which runs however the wait ends.
 */
export function wait<T>(
  { clock, what, signals, ms = DEFAULT_DEADLINE_MS }: Patience,
  start: (settle: Settle<T>) => unknown
): Promise<T> {
  return new Promise((resolve, reject) => {
    const undo: Undo[] = []
    let isOver = false
    const finish = (end: () => void): void => {
      if (isOver) return
      isOver = true
      for (const step of undo) step()
      end()
    }
    const settle: Settle<T> = {
      resolve: value => finish(() => resolve(value)),
      reject: error => finish(() => reject(error))
    }
    for (const signal of signals) {
      const onAbort = (): void => settle.reject(asMusterError(signal?.reason, 'aborted'))
      if (signal?.aborted) return onAbort()
      signal?.addEventListener('abort', onAbort)
      undo.push(() => signal?.removeEventListener('abort', onAbort))
    }
    undo.push(clock.after(ms, () => settle.reject(new MusterError('timed-out', `${what}: no answer within ${ms} ms`))))
    const stop = start(settle)
    if (typeof stop !== 'function') return
    if (isOver) stop()
    else undo.push(stop as Undo)
  })
}

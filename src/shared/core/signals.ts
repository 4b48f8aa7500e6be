import type { Clock } from './clock.ts'
import { MusterError } from './errors.ts'

/** Milliseconds an operation may take when the caller sets nothing. */
export const DEFAULT_DEADLINE_MS = 10_000

/**
 * A signal that aborts when any of `signals` does, or after `ms` with a `timed-out` error that says what was waited for.
 * Dispose it when the wait is over, so that no timer is left behind.
 */
export function deadline(
  ms: number,
  what: string,
  ...signals: ReadonlyArray<AbortSignal | undefined>
): Disposable & { readonly signal: AbortSignal } {
  return deadlineBy(realTimer, ms, what, ...signals)
}

/** As {@link deadline}, with the timer of a clock: what a simulation runs through must not wait for real time. */
export function deadlineBy(
  clock: Pick<Clock, 'after'>,
  ms: number,
  what: string,
  ...signals: ReadonlyArray<AbortSignal | undefined>
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const late = (): void => controller.abort(new MusterError('timed-out', `${what}: no answer within ${ms} ms`))
  const undo = [clock.after(ms, late)]
  for (const signal of signals) {
    if (signal === undefined) continue
    const forward = (): void => controller.abort(signal.reason)
    if (signal.aborted) forward()
    signal.addEventListener('abort', forward, { once: true })
    undo.push(() => signal.removeEventListener('abort', forward))
  }
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const step of undo) step()
    }
  }
}

/** A signal that aborts when any of `signals` does. Dispose it when nobody looks at it any more. */
export function anySignal(...signals: readonly AbortSignal[]): Disposable & { readonly signal: AbortSignal } {
  return deadlineBy({ after: () => () => undefined }, 0, '', ...signals)
}

/** Unlike a clock's, it keeps the process alive: somebody waits for what comes. */
const realTimer: Pick<Clock, 'after'> = {
  after(ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  }
}

/** Rejects with the signal's reason as soon as it aborts; otherwise as `promise`. */
export function raceSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

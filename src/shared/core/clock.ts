import type { Undo } from './lifecycle.ts'

/** Time as a parameter. Everything whose *logic* depends on time takes a clock; real I/O may use `AbortSignal.timeout`. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Milliseconds since some moment: for how long something took, also when the clock on the wall is set meanwhile. */
  monotonic(): number
  /** Calls `run` once after `ms`. Does not keep the process alive. */
  after(ms: number, run: () => void): Undo
  /** Calls `run` every `ms`. Does not keep the process alive. */
  every(ms: number, run: () => void): Undo
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms)
    unref(timer)
    return () => clearTimeout(timer)
  },
  every(ms, run) {
    const timer = setInterval(run, ms)
    unref(timer)
    return () => clearInterval(timer)
  }
}

function unref(timer: unknown): void {
  if (typeof timer === 'object' && timer !== null && 'unref' in timer) (timer as { unref(): void }).unref()
}

/** A clock for tests and simulations: it stands still until `advance` is called. */
export class ManualClock implements Clock {
  #now: number
  #next = 0
  readonly #timers = new Map<number, { at: number; every?: number; run: () => void }>()

  constructor(now = 1_700_000_000_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Undo {
    return this.#add({ at: this.#now + ms, run })
  }

  every(ms: number, run: () => void): Undo {
    return this.#add({ at: this.#now + ms, every: ms, run })
  }

  /** Moves time forward and runs, in order, what falls due. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers]
        .filter(([, timer]) => timer.at <= end)
        .sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0]
      if (due === undefined) break
      const [id, next] = due
      this.#now = next.at
      if (next.every === undefined) this.#timers.delete(id)
      else next.at += next.every
      next.run()
    }
    this.#now = end
  }

  #add(timer: { at: number; every?: number; run: () => void }): Undo {
    const id = this.#next++
    this.#timers.set(id, timer)
    return () => {
      this.#timers.delete(id)
    }
  }
}

/** Resolves after `ms`, or rejects with the signal's reason. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const stop = clock.after(ms, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    const onAbort = (): void => {
      stop()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

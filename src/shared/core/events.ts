import { isMusterError } from './errors.ts'
import { reportUncaught, type Undo } from './lifecycle.ts'

type Events = Record<string, unknown>

export interface Subscribable<E extends Events> {
  /** Calls `listener` for each event until the returned undo is called. What it throws is raised as uncaught; also what its promise rejects with, unless that is a `MusterError`. */
  on<K extends keyof E>(event: K, listener: (detail: E[K]) => unknown): Undo
}

/** Typed events. A listener that throws does not keep the others from hearing. */
export class Emitter<E extends Events> implements Subscribable<E> {
  readonly #listeners = new Map<keyof E, Set<(detail: never) => void>>()

  on<K extends keyof E>(event: K, listener: (detail: E[K]) => unknown): Undo {
    const own = (detail: E[K]): unknown => listener(detail) // the same function may be added twice
    const set = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, set)
    set.add(own)
    return () => {
      set.delete(own)
    }
  }

  emit<K extends keyof E>(event: K, detail: E[K]): void {
    void this.offer(event, detail)
  }

  /** As `emit`; false when a listener threw, or rejected: a promise when one returned a promise. */
  offer<K extends keyof E>(event: K, detail: E[K]): boolean | Promise<boolean> {
    let isTaken = true
    let pending: Array<Promise<boolean>> | undefined
    const listeners = this.#listeners.get(event)
    if (listeners === undefined) return true
    for (const listener of [...listeners]) {
      try {
        const result = (listener as (detail: E[K]) => unknown)(detail)
        if (result instanceof Promise) {
          pending ??= []
          pending.push(
            result.then(
              () => true,
              thrown => {
                // what Muster reports, e.g. that a member left meanwhile, is no fault of the listener's
                if (!isMusterError(thrown)) reportUncaught(thrown)
                return false
              }
            )
          )
        }
      } catch (thrown) {
        isTaken = false
        reportUncaught(thrown)
      }
    }
    return pending === undefined ? isTaken : Promise.all(pending).then(each => isTaken && each.every(Boolean))
  }

  listenerCount(event: keyof E): number {
    return this.#listeners.get(event)?.size ?? 0
  }
}

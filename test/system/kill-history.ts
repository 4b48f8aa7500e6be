import { appendFileSync, writeFileSync } from 'node:fs'

/** What a driver does to the bootstrap, and by which answer it counts as acknowledged. */
export type Deed =
  /** HELLO with a signed member record; acknowledged by MEMBERS. */
  | 'enter'
  /** A provider record; acknowledged once it was read back from the bootstrap. */
  | 'provide'
  /** A signed goodbye; acknowledged by the answer to a question sent after it on the same stream. */
  | 'leave'

/** A member record as it was found. */
export interface SeenMember {
  readonly topic: string
  readonly peerId: string
  readonly sequence: number
  readonly left: boolean
}

/** A provider record as it was found. */
export interface SeenProvider {
  readonly topic: string
  readonly peerId: string
}

/** How a life of the bootstrap ends. */
export const ENDINGS = ['running', 'starting', 'stopping', 'aged'] as const
export type Ending = (typeof ENDINGS)[number]

/** One line of a history. `at` is in milliseconds since 1970, `life` counts the starts of the bootstrap. */
export type HistoryEvent = { readonly at: number; readonly life: number } & (
  | {
      readonly type: 'invoke'
      readonly id: number
      readonly deed: Deed
      readonly peerId: string
      readonly topic: string
      /** Of the signed record; 0 for a provider record. */
      readonly sequence: number
      readonly expiresMs: number
    }
  /** The bootstrap acknowledged deed `id`. */
  | { readonly type: 'ok'; readonly id: number }
  /** Deed `id` certainly did not happen: nothing was sent. */
  | { readonly type: 'fail'; readonly id: number }
  /** Whether deed `id` happened is not known. */
  | { readonly type: 'info'; readonly id: number; readonly reason: string }
  /** The connection of a driver broke though nobody had killed the bootstrap: it may have judged the driver lost. */
  | { readonly type: 'cut'; readonly peerId: string }
  | { readonly type: 'started'; readonly peerId: string; readonly startMs: number }
  /** A start that ended by itself, with what it said. */
  | { readonly type: 'broken'; readonly reason: string }
  /** `ending` is what was going on; `isLate` when the process had ended before the signal came. */
  | { readonly type: 'killed'; readonly ending: Ending; readonly isLate: boolean }
  /** What the data folder holds (`disk`, while nobody runs), or what a stranger is told (`wire`, right after a start). */
  | {
      readonly type: 'seen'
      readonly where: 'disk' | 'wire'
      readonly peerId: string
      readonly members: readonly SeenMember[]
      readonly providers: readonly SeenProvider[]
    }
)

type WithoutTime<T> = T extends unknown ? Omit<T, 'at'> : never

/** Everything that happened, in order: all that the checker gets to know. */
export class History {
  readonly events: HistoryEvent[] = []
  readonly #file: string | undefined
  #nextId = 1

  /** Writes JSON lines to `file` as well, where one is given. */
  constructor(file?: string) {
    this.#file = file
    if (file !== undefined) writeFileSync(file, '')
  }

  newId(): number {
    return this.#nextId++
  }

  add(event: WithoutTime<HistoryEvent>): void {
    const timed = { at: Date.now(), ...event } as HistoryEvent
    this.events.push(timed)
    if (this.#file !== undefined) appendFileSync(this.#file, `${JSON.stringify(timed)}\n`)
  }
}

import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { asError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import * as limits from './limits.ts'

/** Milliseconds until a node that was just met is offered what it should hold; at random in between, so that not all holders do. */
const MEETING_PAUSE_MS = { from: 1_000, to: 5_000 } as const

export interface MeetingsNeeds {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  greet(peerId: PeerId): Promise<void>
}

interface Meeting {
  notBeforeMs: number
  isDue: boolean
  isUnderWay: boolean
}

/** When those who connect are greeted: a moment later, and however often they come one greeting at a time, with a pause. */
export class Meetings {
  readonly #needs: MeetingsNeeds
  /** The last one met at the end. */
  readonly #meetings = new Map<PeerId, Meeting>()

  constructor(needs: MeetingsNeeds) {
    this.#needs = needs
  }

  met(peerId: PeerId): void {
    const { clock, random } = this.#needs
    const meeting = this.#meetings.get(peerId) ?? { notBeforeMs: 0, isDue: false, isUnderWay: false }
    this.#meetings.delete(peerId)
    this.#meetings.set(peerId, meeting)
    if (this.#meetings.size > limits.MAX_RATED_PEERS)
      this.#meetings.delete(this.#meetings.keys().next().value as PeerId)
    if (meeting.isDue) return
    meeting.isDue = true
    const { from, to } = MEETING_PAUSE_MS
    const pauseMs = Math.round(from + random() * (to - from))
    clock.after(Math.max(pauseMs, meeting.notBeforeMs - clock.now()), () => void this.#greet(peerId, meeting))
  }

  async #greet(peerId: PeerId, meeting: Meeting): Promise<void> {
    const { clock, log, greet } = this.#needs
    meeting.notBeforeMs = clock.now() + limits.GREET_AGAIN_MS
    if (meeting.isUnderWay) {
      clock.after(limits.GREET_AGAIN_MS, () => void this.#greet(peerId, meeting))
      return
    }
    meeting.isDue = false
    meeting.isUnderWay = true
    try {
      await greet(peerId)
    } catch (thrown) {
      log.error({ err: asError(thrown), peerId }, 'records could not be offered')
    } finally {
      meeting.isUnderWay = false
    }
  }
}

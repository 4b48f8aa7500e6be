import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Undo } from '../../shared/core/lifecycle.ts'
import { deadlineBy, raceSignal } from '../../shared/core/signals.ts'
import type { Answer, PastBroadcast } from '../../shared/history/ask.ts'
import { Reading } from '../../shared/history/reading.ts'
import { MAX_HISTORY_MESSAGES } from '../../shared/wire/history.ts'
import type { HistoryOptions } from '../api.ts'

/**
 * Milliseconds from the first message of history until they are delivered: what several keepers have is put in order
 * before, and a silent keeper delays nothing for longer.
 */
export const GATHER_MS = 1_000
/** Milliseconds asking for history may take; then it is what is known. */
export const HISTORY_TIMEOUT_MS = 10_000
/** Messages when the caller of `history` says nothing. */
export const DEFAULT_HISTORY = 100

export interface PastNeeds {
  /** Asks a connected peer. Rejects only when `signal` aborts. */
  ask(peerId: PeerId, limit: number, signal: AbortSignal): Promise<Answer>
  /** What this peer keeps itself. */
  kept(limit: number): Promise<readonly PastBroadcast[]>
  /** Members and bootstraps that are connected now, likely keepers first. */
  connected(): readonly PeerId[]
  /** Calls `listener` for each member and bootstrap that is met from now on. */
  onMet(listener: (peerId: PeerId) => void): Undo
  readonly clock: Clock
  /** Aborted when the group is left. */
  readonly signal: AbortSignal
}

/**
 * Delivers what was said before: the newest `limit` messages, oldest first. Whoever is met is asked, until three keepers
 * had something to tell. A keeper met later may add messages, in order among themselves. The same message may come to
 * `deliver` again.
 */
export function followPast(needs: PastNeeds, limit: number, deliver: (message: PastBroadcast) => void): Undo {
  const { clock, signal } = needs
  let undoNext: Undo | undefined
  const flush = (): void => {
    undoNext?.()
    undoNext = undefined
    if (signal.aborted) return
    for (const message of reading.messages) deliver(message)
    if (reading.isDone) stop()
  }
  const onNews = (): void => {
    if (reading.isDone) flush()
    else undoNext ??= clock.after(GATHER_MS, flush)
  }
  const reading = new Reading({ ask: peerId => needs.ask(peerId, limit, signal), clock, onNews }, limit)
  const undoMet = needs.onMet(peerId => reading.offer(peerId))
  const stop = (): void => {
    undoMet()
    undoNext?.()
    reading.stop()
  }
  for (const peerId of needs.connected()) reading.offer(peerId)
  needs.kept(limit).then(
    messages => reading.add(messages),
    () => undefined // not readable here: others have it
  )
  return stop
}

/**
 * What was said before: the newest `limit` messages, oldest first, from three keepers among those connected now, or from
 * as many as there are. Nobody there is not an error.
 * @throws MusterError `options-invalid` | `closed` | `aborted`.
 */
export async function readPast(needs: PastNeeds, options: HistoryOptions = {}): Promise<readonly PastBroadcast[]> {
  const { limit = DEFAULT_HISTORY, signal } = options
  checkHistory('limit', limit, 1)
  if (needs.signal.aborted) throw new MusterError('closed', 'the group was left')
  if (signal?.aborted) throw asMusterError(signal.reason, 'aborted')
  using time = deadlineBy(needs.clock, HISTORY_TIMEOUT_MS, 'history', needs.signal, signal)
  const { clock } = needs
  const reading = new Reading({ ask: peerId => needs.ask(peerId, limit, time.signal), clock }, limit)
  try {
    for (const peerId of needs.connected()) reading.offer(peerId)
    reading.add(await raceSignal(needs.kept(limit), time.signal).catch(() => []))
    await raceSignal(reading.settled(), time.signal)
  } catch (thrown) {
    if (needs.signal.aborted) throw new MusterError('closed', 'the group was left', { cause: thrown })
    if (signal?.aborted) throw asMusterError(signal.reason, 'aborted')
  } finally {
    reading.stop()
  }
  return reading.messages
}

/** @throws MusterError `options-invalid`. */
export function checkHistory(name: string, value: number, least: 0 | 1): void {
  if (Number.isInteger(value) && value >= least && value <= MAX_HISTORY_MESSAGES) return
  const what = `${name} is ${value}; it must be a whole number from ${least} to ${MAX_HISTORY_MESSAGES}`
  throw new MusterError('options-invalid', what)
}

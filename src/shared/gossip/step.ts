import {
  BROADCAST_BYTES_PER_TOKEN,
  BROADCAST_WINDOW,
  BROADCASTS_BURST_SEEN,
  BROADCASTS_PER_SECOND,
  MAX_BROADCAST_SKEW_MS
} from './limits.ts'

/** What is remembered of one author in one topic. */
export interface AuthorState {
  readonly highest: number
  /** A bit for each of the last {@link BROADCAST_WINDOW} sequence numbers, at its remainder: came already. */
  readonly came: Uint8Array
  /** The latest `sentMs`, and when its broadcast came, by our clock. */
  readonly sentMs: number
  readonly seenMs: number
  readonly tokens: number
  /** When they were counted last. Unlike `seenMs` it goes back with our clock, so that more are earned at once. */
  readonly countedMs: number
}

/** What an author says of a broadcast; the signature below holds. */
export interface Claim {
  readonly sequence: number
  readonly sentMs: number
  readonly bytes: number
}

/** `fresh`: never came, in time, within the rate. The others are dropped, and whoever passed them on is not to blame. */
export type Step = 'fresh' | 'replay' | 'clock' | 'rate'

/** What a broadcast costs of its author's rate. */
export function broadcastCost(bytes: number): number {
  return 1 + Math.floor(bytes / BROADCAST_BYTES_PER_TOKEN)
}

/**
 * The next state of an author, and what its broadcast is. Every node decides alike, but for its clock and what it has
 * seen. `floorMs` is for authors nothing is remembered of: what is no later was perhaps forgotten, and is a replay.
 */
export function step(
  state: AuthorState | undefined,
  { sequence, sentMs, bytes }: Claim,
  now: number,
  floorMs = 0
): readonly [AuthorState | undefined, Step] {
  if (Math.abs(sentMs - now) > MAX_BROADCAST_SKEW_MS) return [state, 'clock']
  if (state === undefined && sentMs <= floorMs) return [state, 'replay']
  if (state !== undefined && hasCome(state, sequence)) return [state, 'replay']
  const restedMs = state === undefined ? 0 : Math.max(0, now - state.countedMs)
  const earned = (restedMs / 1000) * BROADCASTS_PER_SECOND
  const tokens = Math.min(BROADCASTS_BURST_SEEN, (state?.tokens ?? BROADCASTS_BURST_SEEN) + earned)
  const left = tokens - broadcastCost(bytes)
  if (left < 0) return [state && { ...state, tokens, countedMs: now }, 'rate'] // it may come again
  const next = {
    ...cameNow(state, sequence),
    sentMs: Math.max(state?.sentMs ?? 0, sentMs),
    seenMs: Math.max(state?.seenMs ?? 0, now),
    tokens: left,
    countedMs: now
  }
  return [next, 'fresh']
}

function hasCome({ highest, came }: AuthorState, sequence: number): boolean {
  if (sequence > highest) return false
  return sequence <= highest - BROADCAST_WINDOW || isSet(came, sequence)
}

function cameNow(state: AuthorState | undefined, sequence: number): Pick<AuthorState, 'highest' | 'came'> {
  const came = state === undefined ? new Uint8Array(BROADCAST_WINDOW / 8) : state.came.slice()
  const highest = state?.highest ?? sequence
  if (sequence - highest >= BROADCAST_WINDOW) came.fill(0)
  else for (let skipped = highest + 1; skipped < sequence; skipped++) put(came, skipped, false)
  put(came, sequence, true)
  return { highest: Math.max(highest, sequence), came }
}

function isSet(bits: Uint8Array, sequence: number): boolean {
  const at = sequence % BROADCAST_WINDOW
  return (((bits[at >> 3] ?? 0) >> (at & 7)) & 1) === 1
}

function put(bits: Uint8Array, sequence: number, isOn: boolean): void {
  const at = sequence % BROADCAST_WINDOW
  const mask = 1 << (at & 7)
  const byte = bits[at >> 3] ?? 0
  bits[at >> 3] = isOn ? byte | mask : byte & ~mask
}

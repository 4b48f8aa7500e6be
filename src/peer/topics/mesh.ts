import type { PeerId } from '../../shared/core/address.ts'
import type { MemberRecord } from '../../shared/roster/record.ts'
import type { Member } from '../api.ts'

/** Members a peer keeps a connection to in one topic; beyond it the rest is listed and dialled on demand. */
export const MAX_MESH = 64
/** Members one group knows of; when there are more, one that is lost, or that a stranger named, makes room. */
export const MAX_KNOWN_MEMBERS = 4_096
/** Dials of candidates under way at once, in one topic. */
export const MAX_PARALLEL_REACHES = 16
/** Shortest and longest pause before a member that could not be reached is tried again, in milliseconds. */
export const REACH_MIN_MS = 1_000
export const REACH_MAX_MS = 60_000

/** Milliseconds one that was told of a newcomer leaves the dialling to it; the shorter one keeps two that both wait from waiting long. */
export const YIELD_SHORT_MS = 250
export const YIELD_LONG_MS = 2_000

/** A member as a group sees it. */
export interface KnownMember {
  record: MemberRecord
  /**
   * `live`: reached. `vouched`: a live member says it is there. `rumour`: somebody we asked has heard so. `claimed`:
   * anybody said so, unasked. `lost`: it was there, and is tried again for as long as its record counts, because networks
   * heal.
   */
  state: 'live' | 'vouched' | 'rumour' | 'claimed' | 'lost'
  /** It has been shown to the user. */
  isShown: boolean
  isBeingReached: boolean
  failures: number
  /** Not to be tried before this time. */
  retryAt: number
}

export interface MeshPlan {
  /** To be dialled now. */
  readonly reach: readonly PeerId[]
  /** Listed without being reached: the mesh is full, or they cannot be reached but a live member vouches. */
  readonly list: readonly PeerId[]
  /** Nobody tries them while the mesh is full, and their records count no more. */
  readonly forget: readonly PeerId[]
  /** When to plan again, if nothing happens before. */
  readonly nextAt: number | undefined
}

/** Members reached or being reached. */
export function meshSize(known: ReadonlyMap<PeerId, KnownMember>): number {
  return [...known.values()].filter(member => member.state === 'live' || member.isBeingReached).length
}

/** Whom to forget for somebody better when too many are known: nobody vouches for it. Undefined when there is no such. */
export function leastWanted(known: ReadonlyMap<PeerId, KnownMember>): PeerId | undefined {
  for (const state of ['claimed', 'lost', 'rumour'] as const) {
    for (const [peerId, member] of known) {
      if (member.state === state && !member.isShown && !member.isBeingReached) return peerId
    }
  }
  return undefined
}

/**
 * Whom a neighbour vouches for, or names when asked, gets the place of somebody that nobody knows to be there. False when
 * no more are to be known; who is live comes all the same, as connections are few.
 */
export function makeRoom(known: Map<PeerId, KnownMember>, state: KnownMember['state']): boolean {
  if (known.size < MAX_KNOWN_MEMBERS) return true
  const leaver = state === 'claimed' ? undefined : leastWanted(known)
  return (leaver !== undefined && known.delete(leaver)) || state === 'live'
}

/** Whom to dial and whom to list, from what is known: pure, so that a table of cases can test it. */
export function planMesh(now: number, known: ReadonlyMap<PeerId, KnownMember>, maxMesh = MAX_MESH): MeshPlan {
  const members = [...known]
  const inMesh = meshSize(known)
  const underWay = members.filter(([, member]) => member.isBeingReached).length
  const waiting = members.filter(([, member]) => member.state !== 'live' && !member.isBeingReached)
  const due = waiting
    .filter(([, member]) => member.retryAt <= now)
    .sort(([, a], [, b]) => a.failures - b.failures || Number(b.state === 'vouched') - Number(a.state === 'vouched'))
  const room = Math.max(0, Math.min(maxMesh - inMesh, MAX_PARALLEL_REACHES - underWay))
  const reach = due.slice(0, room).map(([peerId]) => peerId)
  const isFull = inMesh + reach.length >= maxMesh
  const mayList = ({ state, failures, isShown }: KnownMember): boolean => {
    if (isShown || state === 'lost' || state === 'claimed') return false
    return state === 'vouched' ? isFull || failures > 0 : isFull && failures === 0
  }
  const list = waiting
    .filter(([peerId, member]) => !reach.includes(peerId) && mayList(member))
    .map(([peerId]) => peerId)
  const isPast = ({ state, isShown, record }: KnownMember): boolean =>
    !isShown && (state === 'lost' || state === 'claimed') && record.expiresMs <= now
  const past = isFull ? waiting.filter(([peerId, member]) => !reach.includes(peerId) && isPast(member)) : []
  // a full mesh has no use for more; a place that gets free is news, and plans again
  const later = isFull ? [] : waiting.filter(([, member]) => member.retryAt > now).map(([, member]) => member.retryAt)
  return {
    reach,
    list,
    forget: past.map(([peerId]) => peerId),
    nextAt: later.length === 0 ? undefined : Math.min(...later)
  }
}

/**
 * Milliseconds until a member just heard of is dialled. Two that hear of each other would both dial, and pay for two
 * handshakes where one does: whoever asked goes first.
 */
export function yieldMs(self: PeerId, other: PeerId, isAsked: boolean): number {
  if (isAsked) return 0
  return self < other ? YIELD_SHORT_MS : YIELD_LONG_MS
}

/** Milliseconds until a member that could not be reached `failures` times is tried again. */
export function reachPauseMs(failures: number): number {
  return Math.min(REACH_MAX_MS, REACH_MIN_MS * 2 ** Math.min(failures - 1, 16))
}

export function isLive({ state }: KnownMember): boolean {
  return state === 'live'
}

/** As its user sees it. */
export function memberOf(known: KnownMember): Member {
  const { peerId, name, addresses } = known.record
  return { peerId, name, addresses, verified: isLive(known) }
}

import { type Deed, ENDINGS, type Ending, type HistoryEvent, type SeenMember } from './kill-history.ts'

/** What a history says about the promise that what was acknowledged is there after `kill -9`. */
export interface Verdict {
  readonly kills: Readonly<Record<Ending, number>>
  /** The process had ended by itself when the kill came. */
  readonly lateKills: number
  readonly acknowledged: Readonly<Record<Deed, number>>
  /** Deeds under way when the bootstrap died, or not confirmed: nothing is promised for them. */
  readonly unknown: number
  /** Looks into the data folder, and questions to a restarted bootstrap. */
  readonly looks: Readonly<Record<'disk' | 'wire', number>>
  /** Acknowledged records that were due in a look, and there. */
  readonly found: { readonly members: number; readonly providers: number; readonly goodbyes: number }
  /** Acknowledged records that were not due in a look, by reason. */
  readonly excused: { readonly expired: number; readonly left: number; readonly unknown: number }
  /** Milliseconds from the start of a process until it listens. */
  readonly startMs: { readonly median: number; readonly max: number }
  /** Broken promises, a sentence each: empty is what is expected. */
  readonly faults: readonly string[]
}

interface DeedRecord {
  readonly deed: Deed
  readonly sequence: number
  readonly expiresMs: number
  outcome: 'pending' | 'ok' | 'fail' | 'unknown'
  endLife: number
}

/** One peer in one topic. */
interface Registration {
  /** Goodbyes and entries in the order they were sent. */
  readonly signed: DeedRecord[]
  readonly provides: DeedRecord[]
  provider: 'absent' | 'held' | 'maybe'
  /** Since the last acknowledged entry the bootstrap may have judged the member lost. */
  isSuspect: boolean
}

/**
 * Judges a history by itself alone. What is due: of each peer and topic the last acknowledged record, or a newer one
 * that was sent, unless it expired; and after an acknowledged goodbye neither an older record nor the provider record.
 */
export function checkHistory(history: readonly HistoryEvent[]): Verdict {
  return new Checker(history).verdict
}

class Checker {
  readonly verdict: Verdict
  readonly #kills = Object.fromEntries(ENDINGS.map(ending => [ending, 0])) as Record<Ending, number>
  readonly #acknowledged = { enter: 0, provide: 0, leave: 0 }
  readonly #looks = { disk: 0, wire: 0 }
  readonly #found = { members: 0, providers: 0, goodbyes: 0 }
  readonly #excused = { expired: 0, left: 0, unknown: 0 }
  readonly #faults: string[] = []
  readonly #deeds = new Map<number, { readonly record: DeedRecord; readonly registration: Registration }>()
  readonly #registrations = new Map<string, Registration>()
  #identity: string | undefined

  constructor(history: readonly HistoryEvent[]) {
    const starts: number[] = []
    let lateKills = 0
    for (const event of history) {
      switch (event.type) {
        case 'invoke':
          this.#invoke(event)
          break
        case 'ok':
        case 'fail':
        case 'info':
          this.#end(event)
          break
        case 'cut':
          for (const [name, registration] of this.#registrations) {
            if (name.endsWith(` ${event.peerId}`)) registration.isSuspect = true
          }
          break
        case 'started':
          starts.push(event.startMs)
          this.#checkIdentity(event, 'a start')
          break
        case 'broken':
          this.#fault(event, `the bootstrap did not start: ${event.reason}`)
          break
        case 'killed':
          this.#kills[event.ending]++
          if (event.isLate) lateKills++
          break
        case 'seen':
          this.#look(event)
          break
      }
    }
    starts.sort((a, b) => a - b)
    const unknown = [...this.#deeds.values()].filter(({ record }) => /pending|unknown/.test(record.outcome)).length
    this.verdict = {
      kills: this.#kills,
      lateKills,
      acknowledged: this.#acknowledged,
      unknown,
      looks: this.#looks,
      found: this.#found,
      excused: this.#excused,
      startMs: { median: starts[starts.length >> 1] ?? 0, max: starts.at(-1) ?? 0 },
      faults: this.#faults
    }
  }

  #invoke(event: HistoryEvent & { type: 'invoke' }): void {
    const { id, deed, sequence, expiresMs, life } = event
    const name = nameOf(event)
    const registration = this.#registrations.get(name) ?? {
      signed: [],
      provides: [],
      provider: 'absent',
      isSuspect: false
    }
    this.#registrations.set(name, registration)
    const record: DeedRecord = { deed, sequence, expiresMs, outcome: 'pending', endLife: life }
    if (deed === 'provide') registration.provides.push(record)
    else registration.signed.push(record)
    this.#deeds.set(id, { record, registration })
    // From here on it may have happened.
    if (deed === 'provide' && registration.provider === 'absent') registration.provider = 'maybe'
    if (deed === 'leave' && registration.provider === 'held') registration.provider = 'maybe'
  }

  #end(event: HistoryEvent & { type: 'ok' | 'fail' | 'info' }): void {
    const { record, registration } = this.#deeds.get(event.id)!
    record.outcome = event.type === 'info' ? 'unknown' : event.type
    record.endLife = event.life
    if (event.type !== 'ok') return
    this.#acknowledged[record.deed]++
    if (record.deed === 'enter') registration.isSuspect = false
    if (record.deed === 'provide') registration.provider = 'held'
    if (record.deed !== 'leave') return
    // A request given up in this life may still have been on its way behind the goodbye. And a member that the bootstrap
    // does not know as one has nothing to take back.
    const isClean = !registration.provides.some(each => each.outcome === 'unknown' && each.endLife === event.life)
    registration.provider = isClean && !registration.isSuspect ? 'absent' : 'maybe'
  }

  #look(event: HistoryEvent & { type: 'seen' }): void {
    this.#looks[event.where]++
    this.#checkIdentity(event, `a look (${event.where})`)
    const members = new Map(event.members.map(member => [nameOf(member), member]))
    const providers = new Set(event.providers.map(nameOf))
    for (const name of [...members.keys(), ...providers]) {
      if (!this.#registrations.has(name)) this.#fault(event, `${name} was never sent`)
    }
    for (const [name, registration] of this.#registrations) {
      this.#checkMember(event, name, registration, members.get(name))
      this.#checkProvider(event, name, registration, providers.has(name))
    }
  }

  #checkMember(
    event: HistoryEvent & { type: 'seen' },
    name: string,
    { signed, isSuspect }: Registration,
    seen: SeenMember | undefined
  ): void {
    const sent = signed.filter(each => each.outcome !== 'fail')
    if (seen !== undefined && !sent.some(each => each.sequence === seen.sequence)) {
      this.#fault(event, `${name}: record ${seen.sequence} was never sent`)
    }
    const due = signed.findLast(each => each.outcome === 'ok')
    if (due === undefined) return
    const isNewEnough = seen !== undefined && seen.sequence >= due.sequence
    if (due.expiresMs <= event.at && !isNewEnough) {
      this.#excused.expired++
      return
    }
    if (due.deed === 'leave') {
      if (seen === undefined || seen.left || isNewEnough) this.#found.goodbyes++
      else this.#fault(event, `${name}: the goodbye ${due.sequence} was undone, record ${seen.sequence} is back`)
      return
    }
    // A goodbye whose answer did not come may have been heard, or the member may have said since that it is none.
    const mayHaveLeft = sent.some(each => each.deed === 'leave' && each.sequence > due.sequence)
    if (isNewEnough) this.#found.members++
    else if (seen === undefined && mayHaveLeft) this.#excused.left++
    else if (seen === undefined && isSuspect) this.#excused.unknown++
    else this.#fault(event, `${name}: the acknowledged member record ${due.sequence} is lost`)
  }

  #checkProvider(
    event: HistoryEvent & { type: 'seen' },
    name: string,
    { provider, provides }: Registration,
    isSeen: boolean
  ): void {
    if (provider === 'maybe') this.#excused.unknown++
    else if (provider === 'absent') {
      if (isSeen) this.#fault(event, `${name}: the provider record is there, though a goodbye took it back`)
    } else if (isSeen) this.#found.providers++
    else if (provides.findLast(each => each.outcome === 'ok')!.expiresMs <= event.at) this.#excused.expired++
    else this.#fault(event, `${name}: the acknowledged provider record is lost`)
  }

  #checkIdentity(event: HistoryEvent & { readonly peerId: string }, what: string): void {
    this.#identity ??= event.peerId
    if (event.peerId !== this.#identity) this.#fault(event, `${what} shows the identity ${event.peerId}`)
  }

  #fault(event: HistoryEvent, sentence: string): void {
    const where = event.type === 'seen' ? ` (${event.where})` : ''
    this.#faults.push(`life ${event.life}${where}: ${sentence}`)
  }
}

function nameOf({ topic, peerId }: { readonly topic: string; readonly peerId: string }): string {
  return `${topic} ${peerId}`
}

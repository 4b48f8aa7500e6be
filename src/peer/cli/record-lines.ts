import type { RecordKey, RecordVersion } from '../api.ts'
import type { RecordEvent } from './events.ts'
import { sanitize } from './sanitize.ts'
import { count, jsonValue, type Paint, shortId, shownValue } from './shown.ts'

/** The fields that JSON lines about records carry. */
export function jsonRecord(event: RecordEvent): object {
  switch (event.event) {
    case 'record': {
      const { key, value, author, sequence, issuedAt, expiresAt, holders, answers } = event
      return { key, ...jsonVersion(value), author, sequence, issuedAt, expiresAt, holders, answers }
    }
    case 'own-record': {
      const { key, value, sequence, issuedAt, expiresAt, stored, renew } = event
      return { key, ...jsonValue(value), sequence, issuedAt, expiresAt, stored, renew }
    }
    case 'stored':
    case 'deleted': {
      const { key, sequence, expiresAt, stored, isQuorum } = event
      return { key, sequence, expiresAt, stored, isQuorum }
    }
    case 'no-record':
    case 'watching':
    case 'unwatched':
      return { key: event.key }
    case 'records':
      return { records: event.records }
    case 'imported':
      return { taken: event.taken, older: event.older, refused: event.refused }
  }
}

function jsonVersion(value: RecordVersion['value']): object {
  return value === undefined ? { isDeleted: true } : jsonValue(value)
}

/** The same for people. */
export function recordLines(event: RecordEvent, paint: Paint): string[] {
  const tick = paint('green', '✓')
  switch (event.event) {
    case 'record': {
      const { key, value } = event
      const shown = value === undefined ? 'was deleted' : `is ${shownValue(value)}`
      return [`${keyTag(key, paint)} ${shown} ${paint('dim', `(${recordDetails(event)})`)}`]
    }
    case 'no-record':
      return [`${keyTag(event.key, paint)} is nothing`]
    case 'stored':
    case 'deleted':
      return [`${tick} ${keyTag(event.key, paint)} ${storedText(event)}${event.isQuorum ? '' : ' (fewer than three)'}`]
    case 'own-record': {
      const { key, value, stored, renew, expiresAt } = event
      const ends = renew ? 'renewed' : `until ${minute(expiresAt)}`
      return [`${keyTag(key, paint)} is ${shownValue(value)} ${paint('dim', `(at ${count(stored, 'node')}, ${ends})`)}`]
    }
    case 'records':
      return [`${count(event.records, 'record')} of your own`]
    case 'watching':
      return [`${keyTag(event.key, paint)} is watched; /unwatch ends it`]
    case 'unwatched':
      return [`${keyTag(event.key, paint)} is watched no more`]
    case 'imported': {
      const { taken, older, refused } = event
      return [`${count(taken, 'record')} taken, ${older} older than what is here, ${refused} refused`]
    }
  }
}

/** `by …Ys6Ui, sequence 3, until 2026-11-27 10:00, 3 of 5 nodes`. */
export function recordDetails(record: Omit<RecordEvent & { readonly event: 'record' }, 'event'>): string {
  const { author, sequence, expiresAt, holders, answers } = record
  const nodes =
    holders === undefined ? '' : `, held by ${holders} of ${count(answers ?? holders, 'node')} that answered`
  return `by ${sanitize(shortId(author))}, sequence ${sequence}, until ${minute(expiresAt)}${nodes}`
}

export function storedText(event: Omit<RecordEvent & { readonly event: 'stored' | 'deleted' }, 'key'>): string {
  const what = event.event === 'stored' ? 'stored by' : 'deleted at'
  return `${what} ${count(event.stored, 'node')}, until ${minute(event.expiresAt)}`
}

/** A key in one line: `name`, `name of …Ys6Ui`, or the CID of a value. */
export function keyText(key: RecordKey): string {
  if (typeof key === 'string') return sanitize(key)
  if ('content' in key) return sanitize(key.content)
  return `${sanitize(key.name)}${key.owner === undefined ? '' : ` of ${sanitize(shortId(key.owner))}`}`
}

function keyTag(key: RecordKey, paint: Paint): string {
  return paint('cyan', `[${keyText(key)}]`)
}

function minute(iso: string): string {
  return `${iso.slice(0, 16).replace('T', ' ')} UTC`
}

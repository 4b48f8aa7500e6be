/** One line of a history: what writers did, and what was seen in the data folder and over the wire. In order. */
export type RecordEvent =
  | { readonly type: 'invoke'; readonly key: string; readonly sequence: number }
  /** The holder said that it has it on disk. */
  | { readonly type: 'ok'; readonly key: string; readonly sequence: number }
  /** No answer: it may be there or not. */
  | { readonly type: 'unknown'; readonly key: string; readonly sequence: number }
  /** Somebody began to read; what was seen and acknowledged before is due from here on. */
  | { readonly type: 'read'; readonly id: number; readonly key: string }
  | {
      readonly type: 'seen'
      readonly where: 'disk' | 'wire'
      /** Of the `read` it answers. */
      readonly id: number
      readonly key: string
      /** Undefined: nothing is there. */
      readonly sequence?: number
    }
  /** A row, or an answer, that is no record of that key. */
  | { readonly type: 'unreadable'; readonly what: string }
  | { readonly type: 'killed' | 'started' }

export interface RecordVerdict {
  readonly kills: number
  readonly acknowledged: number
  readonly unknown: number
  readonly looks: number
  readonly lost: readonly string[]
  readonly backwards: readonly string[]
  readonly unreadable: readonly string[]
}

/**
 * Judges a history by itself alone. What a read must give: no less than what was acknowledged, or seen, before it began,
 * and nothing that nobody wrote.
 */
export function checkRecords(history: readonly RecordEvent[]): RecordVerdict {
  const count = (type: RecordEvent['type']): number => history.filter(event => event.type === type).length
  const acknowledged = new Map<string, number>()
  const invoked = new Map<string, number>()
  const seen = new Map<string, number>()
  const due = new Map<number, { readonly acknowledged: number; readonly seen: number }>()
  const lost: string[] = []
  const backwards: string[] = []
  const unreadable: string[] = []
  const raise = (map: Map<string, number>, key: string, to: number): unknown =>
    map.set(key, Math.max(to, map.get(key) ?? 0))
  for (const event of history) {
    if (event.type === 'invoke') raise(invoked, event.key, event.sequence)
    else if (event.type === 'ok') raise(acknowledged, event.key, event.sequence)
    else if (event.type === 'unreadable') unreadable.push(event.what)
    else if (event.type === 'read') {
      due.set(event.id, { acknowledged: acknowledged.get(event.key) ?? 0, seen: seen.get(event.key) ?? 0 })
    } else if (event.type === 'seen') {
      const { id, key, where, sequence = 0 } = event
      const owed = due.get(id) ?? { acknowledged: 0, seen: 0 }
      const what = `${key} (${where}): ${sequence}`
      if (sequence < owed.acknowledged) lost.push(`${what}, though ${owed.acknowledged} was acknowledged`)
      if (sequence < owed.seen) backwards.push(`${what}, though ${owed.seen} was seen before`)
      if (sequence > (invoked.get(key) ?? 0)) unreadable.push(`${what}, which nobody wrote`)
      raise(seen, key, sequence)
    }
  }
  return {
    kills: count('killed'),
    acknowledged: count('ok'),
    unknown: count('unknown'),
    looks: count('seen'),
    lost,
    backwards,
    unreadable
  }
}

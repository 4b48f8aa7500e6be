const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a time as people write it: `500ms`, `30s`, `5m`, `48h`, `30d`. @throws RangeError for anything else. */
export function durationMs(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,9}) ?(ms|s|m|h|d)$/.exec(text.trim()) ?? []
  const unitMs = UNIT_MS[unit]
  if (unitMs === undefined) throw new RangeError('no duration')
  return Number(digits) * unitMs
}

/** A parser of options that are durations, both bounds included; the text stays as it is. */
export function durationBetween(minMs: number, maxMs: number): (text: string) => string {
  return text => {
    const ms = durationMs(text)
    if (ms < minMs || ms > maxMs) throw new RangeError('out of bounds')
    return text.trim()
  }
}

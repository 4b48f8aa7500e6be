/** Longest text of a stranger a person is shown, in UTF-16 code units; the rest is counted, not printed. */
export const MAX_SHOWN_TEXT = 2000

// Controls (C0, DEL, C1: they start escape sequences), line and paragraph separators, lone surrogates, and what is
// invisible or turns the reading direction. Joiners (U+200C, U+200D) stay: Persian and emoji need them.
const HIDDEN =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu
/** Pieces of text put together at once. */
const MAX_PARTS = 65_536
const STACKED_MARKS = /(\p{M}{6})\p{M}+/gu

/**
 * Text of a stranger as one harmless line: what a terminal would obey, or an eye would miss, is written as `\n` or
 * `\u{1b}`; long text is cut. Not reversible, for people only.
 */
export function sanitize(text: string, maxLength: number = MAX_SHOWN_TEXT): string {
  const isLong = text.length > maxLength
  const shown = isLong ? text.slice(0, maxLength) : text
  const clean = shown.replace(HIDDEN, visible).replace(STACKED_MARKS, '$1')
  return isLong ? `${clean}… (${text.length} characters)` : clean
}

/**
 * JSON text in which a terminal finds nothing to obey either: `JSON.stringify` leaves DEL, C1 and bidi marks as they are.
 * `replace` would do, but holds all matches until it is done: gigabytes for 64 MiB of them.
 */
export function escapeJson(json: string): string {
  let escaped = ''
  let parts: string[] = []
  let copied = 0
  for (let at = 0; at < json.length; at++) {
    const unit = json.charCodeAt(at)
    const isPair = unit >> 10 === LEADING && json.charCodeAt(at + 1) >> 10 === TRAILING
    const written = isPair ? escapeOf(json.slice(at, at + 2)) : escapeOfUnit(unit)
    if (written !== '') {
      parts.push(json.slice(copied, at), written)
      copied = at + (isPair ? 2 : 1)
    }
    if (isPair) at++
    if (parts.length < MAX_PARTS) continue
    escaped += parts.join('')
    parts = []
  }
  return escaped + parts.join('') + json.slice(copied)
}

/** The leading six bits of surrogates. */
const [LEADING, TRAILING] = [0b110110, 0b110111]
/** By UTF-16 code unit: a regular expression for each would be slow. */
const escapes = new Array<string | undefined>(65_536)

function escapeOfUnit(unit: number): string {
  escapes[unit] ??= escapeOf(String.fromCharCode(unit))
  return escapes[unit]
}

/** Of one character; empty when it is harmless. */
function escapeOf(character: string): string {
  return character.search(HIDDEN) < 0 ? '' : character.split('').map(jsonEscape).join('')
}

function jsonEscape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function visible(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  if (character === '\r') return '\\r'
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}

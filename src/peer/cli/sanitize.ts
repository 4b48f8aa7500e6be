/** Longest text of a stranger a person is shown, in UTF-16 code units; the rest is counted, not printed. */
export const MAX_SHOWN_TEXT = 2000

// Controls (C0, DEL, C1: they start escape sequences), line and paragraph separators, lone surrogates, and what is
// invisible or turns the reading direction. Joiners (U+200C, U+200D) stay: Persian and emoji need them.
const HIDDEN =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu
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

/** JSON text in which a terminal finds nothing to obey either: `JSON.stringify` leaves DEL, C1 and bidi marks as they are. */
export function escapeJson(json: string): string {
  return json.replace(HIDDEN, character => {
    let escaped = ''
    for (let i = 0; i < character.length; i++) {
      escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`
    }
    return escaped
  })
}

function visible(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  if (character === '\r') return '\\r'
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}

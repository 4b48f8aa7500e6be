import { MAX_FILE_NAME_BYTES } from './file-limits.ts'

/** Devices of Windows, whatever follows their name. */
const RESERVED = /^(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\.|$)/i
// Controls, separators of lines, lone surrogates, and what is invisible or turns the reading direction; and what a file
// system or a shell takes for something else.
const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}<>:"|?*]/gu

/**
 * A stranger's name for a file as one that is safe in any folder: the last part of a path, no control characters, no
 * name of a device, not hidden, at most 200 bytes. Never empty.
 */
export function safeFileName(name: string): string {
  const last = name.normalize('NFC').split(/[/\\]/).at(-1) ?? ''
  const clean = last.replace(FORBIDDEN, '_').replace(/^[.\s]+|[.\s]+$/gu, '')
  if (clean === '') return 'file'
  const { stem, extension } = partsOf(RESERVED.test(clean) ? `_${clean}` : clean)
  return `${cut(stem, MAX_FILE_NAME_BYTES - Buffer.byteLength(extension))}${extension}`
}

/** `name.ext`, `name (2).ext`, … */
export function numberedName(name: string, number: number): string {
  if (number === 1) return name
  const { stem, extension } = partsOf(name)
  return `${stem} (${number})${extension}`
}

function partsOf(name: string): { stem: string; extension: string } {
  const extension = /(?<=[^.])(\.[^.\s]{1,16}){1,2}$/u.exec(name)?.[0] ?? ''
  return { stem: name.slice(0, name.length - extension.length), extension }
}

function cut(text: string, maxBytes: number): string {
  let bytes = 0
  let kept = ''
  for (const character of text) {
    bytes += Buffer.byteLength(character)
    if (bytes > maxBytes) break
    kept += character
  }
  return kept.trimEnd()
}

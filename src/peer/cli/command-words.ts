import { MusterError } from '../../shared/core/errors.ts'

export function invalidCommand(message: string): MusterError {
  return new MusterError('command-invalid', message)
}

/** The first word, or the first text in double quotes, and what follows it. */
export function firstWord(text: string): [string, string] {
  const match = /^(?:"([^"]*)"|(\S+))\s*(.*)$/su.exec(text)
  return match === null ? ['', ''] : [match[1] ?? match[2] ?? '', match[3] ?? '']
}

import { asError, MusterError } from './errors.ts'

/** What every option says about itself. The table of a program is the only place that does: help, docs and checks read it. */
interface OptionFacts {
  /** With its dashes: `--listen`. */
  readonly flag: string
  /** One letter with its dash: `-h`. */
  readonly short?: string
  readonly env?: string
  /** One line, no full stop. */
  readonly help: string
}

interface TextFacts<T extends string> extends OptionFacts {
  /** What stands for the value in the help: `HOST:PORT`. */
  readonly placeholder: string
  /** Completes "expected …". */
  readonly expects: string
  /** Judges a text and gives it back in its normal form; what is normal stays as it is. Throws when it is not valid. */
  readonly parse: (text: string) => T
}

export interface TextOption<T extends string = string, D extends T | undefined = T | undefined> extends TextFacts<T> {
  readonly kind: 'text'
  readonly default: D
  /** Says in the help what happens without a value, when `default` is undefined. */
  readonly otherwise?: string
}

/** May be given several times; in the environment with commas in between. */
export interface ListOption<T extends string = string> extends TextFacts<T> {
  readonly kind: 'list'
  readonly default: readonly T[]
}

/** The flag, which takes no value, turns the default over. */
export interface SwitchOption extends OptionFacts {
  readonly kind: 'switch'
  readonly default: boolean
}

/** A number of bytes: `64 MiB` on a command line, 67108864 (or the same text) in code. */
export interface SizeOption<D extends number | undefined = number | undefined> extends OptionFacts {
  readonly kind: 'size'
  readonly placeholder: string
  readonly expects: string
  readonly default: D
  /** Says in the help what happens without a value, when `default` is undefined. */
  readonly otherwise?: string
}

export type Option = TextOption | ListOption | SwitchOption | SizeOption
export type OptionTable = Readonly<Record<string, Option>>

type ValueOf<O> = O extends SwitchOption
  ? boolean
  : O extends ListOption<infer T>
    ? readonly T[]
    : O extends SizeOption<infer D>
      ? number | Extract<D, undefined>
      : O extends TextOption<infer T, infer D>
        ? T | Extract<D, undefined>
        : never

/** Every option of a table with its value, as plain data: texts stay texts. */
export type Values<T extends OptionTable> = { readonly [K in keyof T]: ValueOf<T[K]> }

/** What contradicts what: a problem a line. Runs when each option is valid by itself. */
export type Rules<T extends OptionTable> = (values: Values<T>, given?: Given<T>) => readonly string[]

/** Where values that are no defaults come from, on a command line. */
export type Given<T extends OptionTable> = ReadonlyMap<keyof T, 'flag' | 'environment'>

/** What a caller may pass: any of them, undefined meaning the default. */
export type Settings<T extends OptionTable> = { readonly [K in keyof T]?: ValueOf<T[K]> | undefined }

export function textOption<T extends string, D extends T | undefined>(
  option: TextFacts<T> & { readonly default: D; readonly otherwise?: string }
): TextOption<T, D> {
  return { kind: 'text', ...option }
}

export function listOption<T extends string>(option: TextFacts<T> & { readonly default: readonly T[] }): ListOption<T> {
  return { kind: 'list', ...option }
}

export function sizeOption<D extends number | undefined>(
  option: OptionFacts & { readonly placeholder: string; readonly default: D; readonly otherwise?: string }
): SizeOption<D> {
  return { kind: 'size', expects: 'a number of bytes above zero (1048576, 512 KiB, 64 MiB)', ...option }
}

export function switchOption(option: OptionFacts & { readonly default: boolean }): SwitchOption {
  return { kind: 'switch', ...option }
}

/** A parser for one of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): (text: string) => T {
  return text => {
    const word = words.find(each => each === text)
    if (word === undefined) throw new RangeError('not one of the words')
    return word
  }
}

/**
 * The values of a table, those of `settings` over the defaults: for callers of the library.
 * `also` names keys that the caller reads itself.
 * @throws MusterError `options-invalid`, one line for each problem: unknown keys, wrong types, values that do not parse.
 */
export function checkOptions<T extends OptionTable>(
  table: T,
  settings: Settings<T>,
  { also = [], rules }: { also?: readonly string[]; rules?: Rules<T> } = {}
): Values<T> {
  const problems: string[] = []
  const values = defaultsOf(table)
  const keys = [...Object.keys(table), ...also]
  for (const [key, value] of Object.entries(settings as object) as Array<[string, unknown]>) {
    const option = Object.hasOwn(table, key) ? table[key] : undefined
    if (option === undefined) {
      if (!also.includes(key)) problems.push(`${key}: there is no such option${hint(key, keys)}`)
    } else if (value !== undefined) {
      values[key] = checkValue(option, key, value, problems)
    }
  }
  failOn(problems)
  const checked = Object.freeze(values) as Values<T>
  failOn(rules?.(checked) ?? [])
  return checked
}

type Value = string | number | boolean | readonly string[] | undefined

export function defaultsOf(table: OptionTable): Record<string, Value> {
  return Object.fromEntries(Object.entries(table).map(([key, option]) => [key, option.default]))
}

function checkValue(option: Option, name: string, value: unknown, problems: string[]): Value {
  if (option.kind === 'switch') {
    if (typeof value === 'boolean') return value
    problems.push(`${name}: received ${shown(value)}, expected true or false`)
    return undefined
  }
  if (option.kind === 'text') return parseText(option, name, value, problems)
  if (option.kind === 'size') return parseSize(option, name, value, problems)
  if (Array.isArray(value)) return parseList(option, name, value, problems)
  problems.push(`${name}: received ${shown(value)}, expected a list, each of it ${option.expects}`)
  return undefined
}

/** Each different value once, in the order given. */
export function parseList(
  option: ListOption,
  name: string,
  items: readonly unknown[],
  problems: string[]
): readonly string[] {
  const parsed = items.map(item => parseText(option, name, item, problems)).filter(item => item !== undefined)
  return Object.freeze([...new Set(parsed)])
}

export function parseText(
  option: TextFacts<string>,
  name: string,
  value: unknown,
  problems: string[]
): string | undefined {
  try {
    if (typeof value === 'string') return option.parse(value)
  } catch {
    // said below: what was received and what was expected, the same way for all
  }
  problems.push(`${name}: received ${shown(value)}, expected ${option.expects}`)
  return undefined
}

const UNITS = ['', 'KiB', 'MiB', 'GiB'] as const

/** Bytes from a number, or from digits with a unit. */
export function parseSize(
  { expects }: SizeOption,
  name: string,
  value: unknown,
  problems: string[]
): number | undefined {
  const [, digits, unit = ''] = typeof value === 'string' ? (/^(\d{1,15}) ?([kmg]ib)?$/i.exec(value.trim()) ?? []) : []
  const power = UNITS.findIndex(each => each.toLowerCase() === unit.toLowerCase())
  const bytes = digits === undefined ? value : Number(digits) * 1024 ** power
  if (typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes > 0) return bytes
  problems.push(`${name}: received ${shown(value)}, expected ${expects}`)
  return undefined
}

/** Bytes as a person writes them: `64 MiB` where that is exact. */
export function sizeText(bytes: number): string {
  const power = UNITS.findLastIndex((_, each) => bytes % 1024 ** each === 0)
  return power <= 0 ? String(bytes) : `${bytes / 1024 ** power} ${UNITS[power]}`
}

export function failOn(problems: readonly string[]): void {
  if (problems.length > 0) throw new MusterError('options-invalid', problems.join('\n'))
}

const MAX_SHOWN = 60

/** A value as it was received, in one line and short. */
export function shown(value: unknown): string {
  if (typeof value === 'string') {
    if (value.length <= MAX_SHOWN) return JSON.stringify(value)
    return `${JSON.stringify(`${value.slice(0, MAX_SHOWN)}…`)} (${new TextEncoder().encode(value).length} bytes)`
  }
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value)
  return value instanceof Error ? asError(value).name : `a value of type ${typeof value}`
}

/** `; did you mean …?` where one of `names` is close to `name`. */
export function hint(name: string, names: readonly string[]): string {
  const ranked = names
    .map(each => ({ each, distance: editDistance(name, each) }))
    .sort((a, b) => a.distance - b.distance)
  const [nearest] = ranked
  // A third of the letters wrong, or two, is a typing error; more is another word.
  if (nearest === undefined || nearest.distance > Math.max(2, Math.floor(name.replace(/^-+/, '').length / 3))) return ''
  return `; did you mean ${nearest.each}?`
}

/** Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, rows[i - 2]![j - 2]! + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}

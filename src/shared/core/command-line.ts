import {
  checkOptions,
  defaultsOf,
  failOn,
  type Given,
  hint,
  type Option,
  type OptionTable,
  parseList,
  parseSize,
  parseText,
  type Rules,
  shown,
  sizeText,
  type Values
} from './options.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface CommandLine<T extends OptionTable> {
  readonly values: Values<T>
  /** The keys the user gave a value, and how; the others have their defaults. */
  readonly given: Given<T>
  /** What is neither a flag nor the value of one, in order. */
  readonly words: readonly string[]
}

/** Judges the words of a command that takes some, a problem a line. `hasFlag` says which options were given as flags. */
export type JudgeWords = (words: readonly string[], hasFlag: (key: string) => boolean) => readonly string[]

interface Occurrence {
  /** The flag as it was written, for messages. */
  readonly name: string
  /** Undefined for a flag without `=` that takes none. */
  readonly text: string | undefined
}

/**
 * Reads flags (`--flag value`, `--flag=value`, repeated for lists) and environment variables (lists with commas in
 * between, empty means unset). Flags win over the environment, also as a whole list.
 * A table with `help` or `version` gets those even when all the rest is wrong.
 * `commands` are what a word that does not belong there may have meant. With `words`, other words are taken too: everything behind `--`, a lone `-`, and numbers below zero are some.
 * @throws MusterError `options-invalid`, one line for each problem.
 */
export function parseCommandLine<T extends OptionTable>(
  table: T,
  argv: readonly string[],
  env: Environment,
  {
    rules,
    words: judgeWords,
    commands = []
  }: { rules?: Rules<T>; words?: JudgeWords; commands?: readonly string[] } = {}
): CommandLine<T> {
  const problems: string[] = []
  const { flags, words, isClear } = readArguments(table, argv, judgeWords !== undefined, commands, problems)
  const asked = ['help', 'version'].find(key => flags.has(key))
  if (asked !== undefined) {
    const values = { ...defaultsOf(table), [asked]: true }
    return { values: Object.freeze(values) as unknown as Values<T>, given: new Map([[asked, 'flag']]), words }
  }
  // Behind a flag that does not exist a word may be its value, and no problem of its own.
  if (isClear) problems.push(...(judgeWords?.(words, key => flags.has(key)) ?? []))
  const settings: Record<string, unknown> = {}
  const given = new Map<string, 'flag' | 'environment'>()
  for (const [key, option] of Object.entries(table)) {
    const occurrences = flags.get(key) ?? readEnvironment(option, env)
    if (occurrences === undefined) continue
    given.set(key, flags.has(key) ? 'flag' : 'environment')
    settings[key] = valueFrom(option, occurrences, problems)
  }
  failOn(problems)
  const checkRules = rules === undefined ? {} : { rules: (values: Values<T>) => rules(values, given) }
  return { values: checkOptions(table, settings as object, checkRules), given, words }
}

function readArguments(
  table: OptionTable,
  argv: readonly string[],
  takesWords: boolean,
  commands: readonly string[],
  problems: string[]
) {
  const found = new Map<string, Occurrence[]>()
  const words: string[] = []
  let isClear = true
  const flags = Object.values(table).map(option => option.flag)
  for (let i = 0; i < argv.length; i++) {
    const [, name = '', inline] = /^([^=]*)(?:=(.*))?$/s.exec(argv[i]!) ?? []
    const entry = Object.entries(table).find(([, { flag, short }]) => name === flag || name === short)
    if (takesWords && argv[i] === '--') {
      words.push(...argv.slice(i + 1))
      break
    }
    if (takesWords && /^(?!-)|^-(\d|$)/.test(argv[i]!)) words.push(argv[i]!)
    else if (!name.startsWith('-') || name === '-') problems.push(strayWord(argv[i]!, commands))
    else if (entry === undefined) {
      problems.push(`${name.slice(0, 60)}: there is no such flag${hint(name, flags)}`)
      // Its value would otherwise be a second problem.
      if (inline === undefined && argv[i + 1] !== undefined && !argv[i + 1]!.startsWith('-')) i++
      isClear = false
    } else {
      const [key, option] = entry
      let text = inline
      if (text === undefined && option.kind !== 'switch') {
        if (argv[i + 1] === undefined || argv[i + 1]!.startsWith('--')) {
          problems.push(`${name}: received nothing, expected ${option.expects}`)
          continue
        }
        text = argv[++i]
      }
      found.set(key, [...(found.get(key) ?? []), { name, text }])
    }
  }
  return { flags: found, words, isClear }
}

/** `commands` are the words that may stand first, and are not read here. */
function strayWord(word: string, commands: readonly string[]): string {
  const flag = `${shown(word)}: expected a flag that starts with --`
  if (commands.includes(word)) return `${flag}; a command comes before all flags`
  return commands.length === 0 ? flag : `${flag}${hint(word, commands)}`
}

function readEnvironment(option: Option, env: Environment): Occurrence[] | undefined {
  const text = option.env === undefined ? undefined : env[option.env]?.trim()
  if (option.env === undefined || text === undefined || text === '') return undefined
  const name = option.env
  if (option.kind !== 'list') return [{ name, text }]
  const items = text.split(',').map(item => item.trim())
  return items.filter(item => item !== '').map(item => ({ name, text: item }))
}

function valueFrom(option: Option, occurrences: readonly Occurrence[], problems: string[]): unknown {
  const { name, text } = occurrences[0] ?? { name: option.flag, text: '' }
  if (option.kind === 'list') {
    return parseList(
      option,
      name,
      occurrences.map(occurrence => occurrence.text),
      problems
    )
  }
  if (option.kind === 'switch') {
    const isOn = switchWord(text)
    if (isOn !== undefined) return isOn ? !option.default : option.default
    problems.push(`${name}: received ${shown(text)}, expected true or false, or nothing`)
    return undefined
  }
  if (occurrences.length > 1) {
    const all = occurrences.map(occurrence => shown(occurrence.text)).join(' and ')
    problems.push(`${name}: received ${all}, expected it once`)
    return undefined
  }
  return option.kind === 'size' ? parseSize(option, name, text, problems) : parseText(option, name, text, problems)
}

function switchWord(text: string | undefined): boolean | undefined {
  if (text === undefined || /^(1|true|yes|on)$/i.test(text)) return true
  return /^(0|false|no|off)$/i.test(text) ? false : undefined
}

/** One row of the table in the README and in the help. */
export interface OptionRow {
  readonly key: string
  /** With its placeholder, and `…` when it may be repeated: `--bootstrap ADDRESS…`. */
  readonly flag: string
  readonly env: string
  readonly default: string
  readonly help: string
}

/** The options as texts, in the order of the table. A test keeps the documents equal to it. */
export function optionsTable(table: OptionTable): OptionRow[] {
  return Object.entries(table).map(([key, option]) => ({
    key,
    flag: flagText(option),
    env: option.env ?? '',
    default: defaultText(option),
    help: option.help
  }))
}

function flagText(option: Option): string {
  const name = option.short === undefined ? option.flag : `${option.short}, ${option.flag}`
  if (option.kind === 'switch') return name
  return `${name} ${option.placeholder}${option.kind === 'list' ? '…' : ''}`
}

function defaultText(option: Option): string {
  if (option.kind === 'switch') return ''
  if (option.kind === 'list') return option.default.join(',')
  if (option.kind === 'size') return option.default === undefined ? (option.otherwise ?? '') : sizeText(option.default)
  return option.default ?? option.otherwise ?? ''
}

/** The text for `--help`: `usage`, then each flag with what it does, its default and its variable. Ends with a line break. */
export function helpText(table: OptionTable, usage: string): string {
  const rows = optionsTable(table)
  const width = Math.max(...rows.map(row => row.flag.length))
  const lines = rows.map(row => {
    const notes = [row.default === '' ? '' : `default ${row.default}`, row.env].filter(note => note !== '')
    return `  ${row.flag.padEnd(width)}  ${row.help}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`
  })
  return [
    usage.trimEnd(),
    '',
    'Options, with the environment variable that stands in for the flag:',
    ...lines,
    '',
    'A flag with … may be given several times; its variable takes commas in between.',
    ''
  ].join('\n')
}

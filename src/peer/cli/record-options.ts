import { ED25519_PEER_ID } from '../../shared/core/address.ts'
import { type CommandLine, helpText, type JudgeWords, parseCommandLine } from '../../shared/core/command-line.ts'
import { nodeOptions, programOptions } from '../../shared/core/common-options.ts'
import { durationBetween } from '../../shared/core/duration.ts'
import { type OptionTable, type Rules, shown, switchOption, textOption } from '../../shared/core/options.ts'
import { normalCid, normalName } from '../../shared/records/key.ts'
import { MAX_RECORD_VALIDITY_MS, MIN_RECORD_VALIDITY_MS, REPLICAS } from '../../shared/records/limits.ts'
import { MAX_RECORD_VALUE_BYTES } from '../../shared/wire/record.ts'

const {
  bootstrap,
  data: peerData,
  network,
  preset
} = nodeOptions({
  listen: '127.0.0.1:0',
  http: 'off',
  bootstrap: ['127.0.0.1:8468'],
  dataOtherwise: 'of peer-1 to peer-16 the first with a peer that runs, else the first free one'
})
const { data: bootstrapData } = nodeOptions({
  listen: '127.0.0.1:0',
  http: 'off',
  bootstrap: [],
  dataOtherwise: "the user's data folder of the platform, e.g. ~/.local/share/muster/bootstrap"
})
const memory = switchOption({
  flag: '--memory',
  env: 'MUSTER_MEMORY',
  help: 'be somebody new for this one command, and keep nothing',
  default: false
})
const PROGRAM = programOptions({ logLevel: 'error' })
const verbose = switchOption({
  flag: '--verbose',
  help: 'say more on standard error: author, times, holders, and who was asked',
  default: false
})
const timeout = textOption<string, undefined>({
  flag: '--timeout',
  placeholder: 'DURATION',
  help: 'when to give up',
  expects: 'a time of 1s to 60s',
  default: undefined,
  otherwise: '10s',
  parse: durationBetween(1_000, 60_000)
})
const own = switchOption({
  flag: '--own',
  help: "KEY is a name of this peer's own, which only it writes",
  default: false
})
const owner = textOption<string, undefined>({
  flag: '--owner',
  placeholder: 'PEERID',
  help: 'KEY is a name that this peer writes',
  expects: 'a peer id (12D3KooW…)',
  default: undefined,
  otherwise: 'nobody',
  parse(text) {
    if (!ED25519_PEER_ID.test(text.trim())) throw new RangeError('no peer id')
    return text.trim()
  }
})

const NODE = { bootstrap, data: peerData, memory, network, preset }
const LAST = { verbose, ...PROGRAM }

export const PUT_OPTIONS = {
  own,
  content: switchOption({
    flag: '--content',
    help: 'store under the hash of the value, without a KEY, and print that key',
    default: false
  }),
  string: switchOption({ flag: '--string', help: 'take the value as text, though it be JSON', default: false }),
  bytes: switchOption({ flag: '--bytes', help: 'take the value as raw bytes', default: false }),
  expires: textOption<string, undefined>({
    flag: '--expires',
    placeholder: 'DURATION',
    help: 'how long it counts',
    expects: 'a time of 5m to 30d (90m, 48h, 7d)',
    default: undefined,
    otherwise: '48h',
    parse: durationBetween(MIN_RECORD_VALIDITY_MS, MAX_RECORD_VALIDITY_MS)
  }),
  renew: switchOption({
    flag: '--renew',
    help: 'sign it anew before it expires, whenever a peer runs on this data folder',
    default: false
  }),
  timeout,
  ...NODE,
  ...LAST
}

export const GET_OPTIONS = {
  own,
  owner,
  content: switchOption({
    flag: '--content',
    help: 'KEY is the hash of a value, as put --content prints it',
    default: false
  }),
  quorum: textOption<string, undefined>({
    flag: '--quorum',
    placeholder: 'N',
    help: 'nodes that must agree before all were asked',
    expects: `a number of 1 to ${REPLICAS}`,
    default: undefined,
    otherwise: '3',
    parse(text) {
      if (!/^\d{1,3}$/.test(text) || Number(text) < 1 || Number(text) > REPLICAS) throw new RangeError('no quorum')
      return text
    }
  }),
  timeout,
  ...NODE,
  ...LAST
}

export const DELETE_OPTIONS = { own, timeout, ...NODE, ...LAST }
export const WATCH_OPTIONS = { own, owner, ...NODE, ...LAST }
export const LIST_OPTIONS = { ...NODE, ...LAST }
export const PEER_ARCHIVE_OPTIONS = { data: peerData, ...LAST }
export const BOOTSTRAP_ARCHIVE_OPTIONS = { data: bootstrapData, ...LAST }

/** What a command of one shot says about its command line. */
export interface CommandSyntax<T extends OptionTable> {
  /** `put KEY [VALUE]` */
  readonly usage: string
  /** One sentence. */
  readonly summary: string
  /** Further sentences for the help, a line each. */
  readonly help: readonly string[]
  readonly options: T
  readonly words: JudgeWords
  readonly rules?: Rules<T>
}

/** What exit codes mean, for the help and the README. */
export const EXIT_MEANINGS = [
  'done',
  'an error',
  'a wrong command line',
  'no record',
  'no node could be asked, or none stored it',
  'timed out',
  'something was found, and it is no valid record'
] as const

const ELSEWHERE = [
  'A peer that runs on the data folder does it; --bootstrap is not used then. Otherwise this command joins the network',
  'for a few seconds, with the identity in that folder.'
]

export const PUT: CommandSyntax<typeof PUT_OPTIONS> = {
  usage: 'put KEY [VALUE]',
  summary: 'Stores a value in the network, and says how many nodes have it.',
  help: [
    'VALUE is JSON where it parses as JSON, else text. Without a VALUE, or with -, it is read from standard input; a line',
    `break at its end is left out unless --bytes. At most ${MAX_RECORD_VALUE_BYTES} bytes. Behind -- nothing is a flag.`,
    ...ELSEWHERE
  ],
  options: PUT_OPTIONS,
  words: (words, hasFlag) =>
    hasFlag('content') ? judge(words, ['VALUE'], 0) : [...judge(words, ['KEY', 'VALUE'], 1), ...judgeName(words)],
  rules: (values, given) => [
    ...together(values, 'own', 'content'),
    ...together(values, 'string', 'bytes'),
    ...together(values, 'memory', 'renew'),
    ...memoryRules(values, given)
  ]
}

export const GET: CommandSyntax<typeof GET_OPTIONS> = {
  usage: 'get KEY',
  summary: 'Prints the newest value under a key, and nothing else.',
  help: [
    'Text is printed as it is, JSON as one line, bytes raw (on a terminal as JSON, in base64); a line break follows text',
    'and JSON.',
    ...ELSEWHERE
  ],
  options: GET_OPTIONS,
  words: (words, hasFlag) => [
    ...judge(words, ['KEY'], 1),
    ...(hasFlag('content') ? judgeCid(words) : judgeName(words))
  ],
  rules: (values, given) => [
    ...together(values, 'own', 'content'),
    ...together(values, 'own', 'owner'),
    ...together(values, 'owner', 'content'),
    ...memoryRules(values, given)
  ]
}

export const DELETE: CommandSyntax<typeof DELETE_OPTIONS> = {
  usage: 'delete KEY',
  summary: 'Deletes what is under a key, for everybody.',
  help: ['A signed note takes its place for 30 days, so that nothing older comes back.', ...ELSEWHERE],
  options: DELETE_OPTIONS,
  words: words => [...judge(words, ['KEY'], 1), ...judgeName(words)],
  rules: memoryRules
}

export const WATCH: CommandSyntax<typeof WATCH_OPTIONS> = {
  usage: 'watch KEY',
  summary: 'Prints the value under a key, and each newer one as it comes, until it is stopped.',
  help: [
    'Each begins a new line; bytes are printed as JSON, in base64. Ctrl-C stops it, with exit code 0.',
    ...ELSEWHERE
  ],
  options: WATCH_OPTIONS,
  words: words => [...judge(words, ['KEY'], 1), ...judgeName(words)],
  rules: (values, given) => [...together(values, 'own', 'owner'), ...memoryRules(values, given)]
}

export const LIST: CommandSyntax<typeof LIST_OPTIONS> = {
  usage: 'list',
  summary: 'Lists the records that this peer wrote and that still count, a line each.',
  help: ['A peer that runs on the data folder is asked; otherwise the folder is read.'],
  options: LIST_OPTIONS,
  words: words => judge(words, [], 0),
  rules: memoryRules
}

const ARCHIVE = {
  export: {
    summary: 'Writes all records that this node holds to standard output, signatures included, a JSON line each.',
    help: ['A node that runs on the data folder does it; otherwise the folder is read, and the network is not joined.']
  },
  import: {
    summary: 'Takes records from standard input, as export writes them, each verified.',
    help: [
      'What is refused is said on standard error, with its line, and ends in exit code 1.',
      'A node that runs on the data folder takes them; otherwise they go into the folder, and the network is not joined.'
    ]
  }
} as const

export function archiveSyntax<T extends OptionTable>(word: keyof typeof ARCHIVE, options: T): CommandSyntax<T> {
  return { usage: word, ...ARCHIVE[word], options, words: words => judge(words, [], 0) }
}

/** @throws MusterError `options-invalid`, one line for each problem. */
export function parseSyntax<T extends OptionTable>(
  { options, words, rules }: CommandSyntax<T>,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>
): CommandLine<T> {
  return parseCommandLine(options, argv, env, rules === undefined ? { words } : { words, rules })
}

export function syntaxHelp(
  { usage, summary, help, options }: Pick<CommandSyntax<OptionTable>, 'usage' | 'summary' | 'help' | 'options'>,
  program: string
): string {
  const codes = EXIT_MEANINGS.map((meaning, code) => `  ${code}  ${meaning}`)
  const usageText = [`${summary} ${program} ${usage} [options]`, '', ...help].join('\n')
  return `${helpText(options, usageText)}\nExit codes:\n${codes.join('\n')}\n`
}

function judge(words: readonly string[], names: readonly string[], min: number): string[] {
  const missing = names.slice(words.length, min).map(name => `${name}: it is missing`)
  const surplus = words.slice(names.length)
  if (surplus.length === 0) return missing
  const most = names.length === 0 ? 'nothing but flags' : `${names.join(' and ')} alone`
  return [...missing, `${shown(surplus[0])}: expected ${most}; put quotes around what has spaces`]
}

function judgeName([name]: readonly string[]): string[] {
  return name === undefined ? [] : problemOf(name, normalName)
}

function judgeCid([cid]: readonly string[]): string[] {
  return cid === undefined ? [] : problemOf(cid, normalCid)
}

function problemOf(word: string, parse: (text: string) => unknown): string[] {
  try {
    parse(word)
    return []
  } catch (thrown) {
    return [`KEY: received ${shown(word)}: ${(thrown as Error).message}`]
  }
}

function together<K extends string>(values: { readonly [key in K]: unknown }, one: K, other: K): string[] {
  const isOn = (key: K): boolean => values[key] !== undefined && values[key] !== false
  return isOn(one) && isOn(other) ? [`--${one} and --${other} contradict each other: leave one of them out`] : []
}

/** A container sets MUSTER_DATA for all; there the flag --memory wins. */
function memoryRules(
  values: { readonly data: string | undefined; readonly memory: boolean },
  given?: ReadonlyMap<string, 'flag' | 'environment'>
): string[] {
  const isOverruled = given?.get('memory') === 'flag' && given.get('data') === 'environment'
  if (!values.memory || values.data === undefined || isOverruled) return []
  return ['--memory and --data contradict each other: leave one of them out']
}

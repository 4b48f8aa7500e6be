import { type CommandLine, parseCommandLine } from '../shared/core/command-line.ts'
import { MAX_NICK_BYTES, nodeOptions, parseNick, parsePath, programOptions } from '../shared/core/common-options.ts'
import {
  checkOptions,
  listOption,
  type Settings,
  sizeOption,
  sizeText,
  switchOption,
  textOption,
  type Values
} from '../shared/core/options.ts'
import { MAX_TOPIC_BYTES, normalTopicName } from '../shared/core/topic.ts'
import { MAX_MESSAGE_BYTES, MAX_PEER_BYTES } from './messaging/limits.ts'

/** What `createPeer` takes. */
export const PEER_SETTINGS = {
  name: textOption<string, undefined>({
    flag: '--name',
    env: 'MUSTER_NAME',
    placeholder: 'NICK',
    help: 'what to be called by others',
    expects: `a name of 1 to ${MAX_NICK_BYTES} bytes in UTF-8 without control characters`,
    default: undefined,
    otherwise: 'none',
    parse: parseNick
  }),
  ...nodeOptions({
    listen: '0.0.0.0:0',
    http: 'off',
    bootstrap: ['127.0.0.1:8468'],
    dataOtherwise: "the first free of peer-1 to peer-16 in the user's data folder of the platform"
  }),
  memory: switchOption({
    flag: '--memory',
    env: 'MUSTER_MEMORY',
    help: 'keep nothing on disk: a new identity each time',
    default: false
  }),
  maxMessageBytes: sizeOption({
    flag: '--max-message-bytes',
    env: 'MUSTER_MAX_MESSAGE_BYTES',
    placeholder: 'SIZE',
    help: 'longest value to send and to take in one message',
    default: MAX_MESSAGE_BYTES
  }),
  maxPeerBytes: sizeOption({
    flag: '--max-peer-bytes',
    env: 'MUSTER_MAX_PEER_BYTES',
    placeholder: 'SIZE',
    help: 'values over 64 KiB under way from one peer, and to one peer, together',
    default: MAX_PEER_BYTES
  }),
  compressAbove: sizeOption({
    flag: '--compress-above',
    env: 'MUSTER_COMPRESS_ABOVE',
    placeholder: 'SIZE',
    help: 'compress values longer than this for peers that read it',
    default: undefined,
    otherwise: 'never'
  }),
  roster: switchOption({
    flag: '--no-roster',
    env: 'MUSTER_NO_ROSTER',
    help: 'find members through the DHT alone',
    default: true
  })
}

/** What `npm run peer` takes. */
export const PEER_OPTIONS = {
  topic: listOption({
    flag: '--topic',
    env: 'MUSTER_TOPIC',
    placeholder: 'NAME',
    help: 'a topic to join',
    expects: `a topic name of 1 to ${MAX_TOPIC_BYTES} bytes in UTF-8`,
    default: ['global-chat'],
    parse: normalTopicName
  }),
  ...PEER_SETTINGS,
  files: textOption<string, undefined>({
    flag: '--files',
    env: 'MUSTER_FILES',
    placeholder: 'FOLDER',
    help: 'where to put the files that members send',
    expects: 'the path of a folder',
    default: undefined,
    otherwise: 'files in the data folder; with --memory none are taken',
    parse: parsePath
  }),
  ...programOptions({ logLevel: 'warn' })
}

export type PeerSettings = Settings<typeof PEER_SETTINGS>
export type PeerValues = Values<typeof PEER_SETTINGS>

/** What a peer does when nothing is said. */
export const DEFAULTS: PeerValues = checkOptions(PEER_SETTINGS, {})

/** What contradicts what, for `checkOptions`. A container sets MUSTER_DATA for all; there the flag --memory wins. */
export function peerRules(
  { data, memory, maxMessageBytes, maxPeerBytes }: Partial<PeerValues>,
  given?: ReadonlyMap<string, 'flag' | 'environment'>
): string[] {
  const problems: string[] = []
  const isOverruled = given?.get('memory') === 'flag' && given.get('data') === 'environment'
  if (memory && data !== undefined && !isOverruled)
    problems.push('--memory and --data contradict each other: leave one of them out')
  if (maxMessageBytes !== undefined && maxPeerBytes !== undefined && maxMessageBytes > maxPeerBytes) {
    const [one, all] = [sizeText(maxMessageBytes), sizeText(maxPeerBytes)]
    problems.push(`--max-message-bytes ${one} is more than --max-peer-bytes ${all} leaves room for: raise the second`)
  }
  return problems
}

/** What may stand before all flags, and does one thing instead of running a peer. */
export const PEER_COMMANDS = ['put', 'get', 'delete', 'watch', 'list', 'export', 'import'] as const

/** @throws MusterError `options-invalid`, one line for each problem. */
export function commandLineFrom(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>
): CommandLine<typeof PEER_OPTIONS> {
  return parseCommandLine(PEER_OPTIONS, argv, env, { rules: peerRules, commands: PEER_COMMANDS })
}

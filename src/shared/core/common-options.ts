import { ED25519_PEER_ID, parseAddress } from './address.ts'
import { listOption, oneOf, switchOption, textOption } from './options.ts'
import { MAX_TOPIC_BYTES, normalTopicName } from './topic.ts'

export const PRESETS = ['private', 'public'] as const

/** From talkative to quiet. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** Bytes of UTF-8. */
export const MAX_NICK_BYTES = 64

/** Options of both programs whose defaults differ. */
export function nodeOptions<const L extends string, const H extends string>(defaults: {
  readonly listen: L
  readonly http: H
  readonly bootstrap: readonly string[]
  readonly dataOtherwise: string
}) {
  return {
    listen: textOption<string, string>({
      flag: '--listen',
      env: 'MUSTER_LISTEN',
      placeholder: 'ADDRESS',
      help: 'where to accept connections; port 0 lets the system choose one',
      expects: 'an IP address and port (0.0.0.0:8468, [::]:8468) or a multiaddr (/ip4/0.0.0.0/tcp/8468)',
      default: defaults.listen,
      parse: parseListen
    }),
    bootstrap: listOption<string>({
      flag: '--bootstrap',
      env: 'MUSTER_BOOTSTRAP',
      placeholder: 'ADDRESS',
      help: 'a node to join the network through',
      expects: 'host:port (127.0.0.1:8468) or a multiaddr (/ip4/127.0.0.1/tcp/8468/p2p/12D3Koo…)',
      default: defaults.bootstrap,
      parse: parseReachable
    }),
    data: textOption<string, undefined>({
      flag: '--data',
      env: 'MUSTER_DATA',
      placeholder: 'FOLDER',
      help: 'where to keep identity and database',
      expects: 'the path of a folder',
      default: undefined,
      otherwise: defaults.dataOtherwise,
      parse: parsePath
    }),
    durability: textOption<'sync' | 'fast', 'sync' | 'fast'>({
      flag: '--durability',
      env: 'MUSTER_DURABILITY',
      placeholder: 'sync|fast',
      help: 'sync has everything on the disk before it is acknowledged, fast may lose the last moments in a power cut',
      expects: 'sync or fast',
      default: 'sync',
      parse: oneOf('sync', 'fast')
    }),
    network: textOption<string, string>({
      flag: '--network',
      env: 'MUSTER_NETWORK',
      placeholder: 'NAME',
      help: 'the network to be part of; two networks never mix',
      expects: '1 to 32 letters a to z, digits and hyphens',
      default: 'muster',
      parse: matching(/^[a-z0-9-]{1,32}$/)
    }),
    preset: textOption<'private' | 'public', 'private' | 'public'>({
      flag: '--preset',
      env: 'MUSTER_PRESET',
      placeholder: PRESETS.join('|'),
      help: 'private keeps the addresses of LANs and containers, public tells nobody of them',
      expects: PRESETS.join(' or '),
      default: 'private',
      parse: oneOf(...PRESETS)
    }),
    announce: listOption<string>({
      flag: '--announce',
      env: 'MUSTER_ANNOUNCE',
      placeholder: 'ADDRESS',
      help: 'an address others can reach this node at, when it is behind a port mapping',
      expects: 'host:port (example.org:8468) or a multiaddr (/ip4/203.0.113.7/tcp/8468)',
      default: [],
      parse: parseReachable
    }),
    keep: listOption<string>({
      flag: '--keep',
      env: 'MUSTER_KEEP',
      placeholder: 'NAME',
      help: 'a topic to pass on and keep the broadcasts of, joined or not',
      expects: `a topic name of 1 to ${MAX_TOPIC_BYTES} bytes in UTF-8`,
      default: [],
      parse: normalTopicName
    }),
    http: textOption<string, string>({
      flag: '--http',
      env: 'MUSTER_HTTP',
      placeholder: 'ADDRESS|off',
      help: 'where to serve /health, /status and /metrics to anybody who can reach it',
      expects: 'an IP address and port (127.0.0.1:8469), or off',
      default: defaults.http,
      parse: parseHttp
    })
  }
}

/** Options that only a program has, not the library. */
export function programOptions<const L extends (typeof LOG_LEVELS)[number]>(defaults: { readonly logLevel: L }) {
  return {
    logLevel: textOption<(typeof LOG_LEVELS)[number], (typeof LOG_LEVELS)[number]>({
      flag: '--log-level',
      env: 'MUSTER_LOG_LEVEL',
      placeholder: 'LEVEL',
      help: `how much to log to standard error: ${LOG_LEVELS.join(', ')}`,
      expects: `one of ${LOG_LEVELS.join(', ')}`,
      default: defaults.logLevel,
      parse: oneOf(...LOG_LEVELS)
    }),
    json: switchOption({
      flag: '--json',
      env: 'MUSTER_JSON',
      help: 'print one JSON object for each event',
      default: false
    }),
    help: switchOption({ flag: '--help', short: '-h', help: 'print this', default: false }),
    version: switchOption({ flag: '--version', help: 'print the version', default: false })
  }
}

/** A name to be called by: no control characters, as it is printed on terminals. */
export function parseNick(text: string): string {
  const nick = text.trim().normalize('NFC')
  const bytes = new TextEncoder().encode(nick).length
  if (!nick.isWellFormed() || /\p{Cc}/u.test(nick) || bytes === 0 || bytes > MAX_NICK_BYTES)
    throw new RangeError('nick')
  return nick
}

function parseListen(text: string): string {
  const { address, peerId } = parseAddress(text)
  if (peerId !== undefined || !/^\/ip[46]\//.test(address)) throw new RangeError('not an address of this machine')
  return text.trim()
}

function parseReachable(text: string): string {
  const { address, peerId } = parseAddress(text)
  if (peerId !== undefined && !ED25519_PEER_ID.test(peerId)) throw new RangeError('not the id of a Muster node')
  if (/\/tcp\/0(\/|$)/.test(address)) throw new RangeError('nobody can be reached at port 0')
  return text.trim()
}

function parseHttp(text: string): string {
  if (text === 'off') return text
  const { address, peerId } = parseAddress(text)
  if (peerId !== undefined || !/^\/ip[46]\/[^/]+\/tcp\/\d+$/.test(address)) throw new RangeError('no place for HTTP')
  return text.trim()
}

export function parsePath(text: string): string {
  if (text.trim() === '' || text.includes('\0')) throw new RangeError('no path')
  return text
}

function matching(pattern: RegExp): (text: string) => string {
  return text => {
    if (!pattern.test(text)) throw new RangeError('no match')
    return text
  }
}

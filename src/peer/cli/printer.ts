import { styleText } from 'node:util'
import type { PeerId } from '../../shared/core/address.ts'
import { type Clock, systemClock } from '../../shared/core/clock.ts'
import type { Status } from '../../shared/status/status.ts'
import type { Via } from '../api.ts'
import type { CliEvent, ShownMember } from './events.ts'
import { jsonRecord, recordLines } from './record-lines.ts'
import { escapeJson, sanitize } from './sanitize.ts'
import { bytesText, count, jsonValue, type Paint, shortId, shownValue } from './shown.ts'

/** Tells the user what happened. Never throws, whatever a stranger sent. */
export interface Printer {
  print(event: CliEvent): void
}

/** Takes one line without its line break. */
export type LineSink = (line: string) => void

/** One JSON object a line: `event`, `at` (ISO 8601) and the fields of the event. */
export function jsonPrinter(sink: LineSink, clock: Clock = systemClock): Printer {
  const write = (event: string, fields: object): void => {
    sink(escapeJson(JSON.stringify({ event, at: new Date(clock.now()).toISOString(), ...fields })))
  }
  return {
    print(event) {
      const fields = jsonFields(event)
      if (fields === undefined) return
      try {
        write(event.event, fields)
      } catch {
        // A stranger's value nested some 10,000 levels deep is legal JSON, but more than some engines can write.
        write('error', { code: 'value-invalid', message: `${whence(event)} cannot be printed` })
      }
    }
  }
}

/** The fields JSON lines carry: a contract with the programs that read them, so each is named here. */
function jsonFields(event: CliEvent): object | undefined {
  switch (event.event) {
    case 'listening':
      return { peerId: event.peerId, addresses: event.addresses, http: event.http }
    case 'ready':
      return {}
    case 'joined':
    case 'topic':
      return { topic: event.topic }
    case 'member':
      return { topic: event.topic, ...jsonMember(event) }
    case 'left':
      return { topic: event.topic, peerId: event.peerId, reason: event.reason }
    case 'message':
      return {
        ...{ topic: event.topic, from: event.from, name: event.name ?? null, id: event.id, via: event.via },
        ...{ sentAt: event.sentAt, question: event.question },
        ...jsonValue(event.value)
      }
    case 'sent':
      return { topic: event.topic, to: event.to, id: event.id, rttMs: event.rttMs }
    case 'file-progress':
    case 'file':
      return jsonFile(event)
    case 'error':
      return { code: event.code, message: event.message }
    case 'said':
      return { topic: event.topic, id: event.id, received: event.received, members: event.members }
    case 'answer':
      return { topic: event.topic, from: event.from, name: event.name ?? null, id: event.id, ...jsonValue(event.value) }
    case 'answered':
      return { topic: event.topic, to: event.to, question: event.question }
    case 'history':
      return { topic: event.topic, messages: event.messages }
    case 'members':
      return { topic: event.topic, members: event.members.map(jsonMember) }
    case 'connected':
      return { peerId: event.peerId }
    case 'disconnected':
      return { address: event.address }
    case 'status':
      return { status: event.status }
    case 'help':
      return { commands: event.commands }
    case 'hint':
      return undefined
    default:
      return jsonRecord(event)
  }
}

function jsonFile(event: Extract<CliEvent, { event: 'file' | 'file-progress' }>): object {
  const { topic, peerId, name, bytes, direction } = event
  if (event.event === 'file') return { topic, peerId, name, bytes, path: event.path, direction }
  return { topic, peerId, name, bytes, totalBytes: event.totalBytes, direction }
}

function jsonMember({ peerId, name, addresses, verified }: ShownMember): object {
  return { peerId, name: name ?? null, addresses, verified }
}

function whence(event: CliEvent): string {
  if (event.event === 'record') return `the value of a record of ${event.author}`
  return event.event === 'message' ? `the value of message ${event.id} from ${event.from}` : `an event ${event.event}`
}

/** Lines for people, with or without colours. */
export function humanPrinter(sink: LineSink, hasColours: boolean): Printer {
  const paint: Paint = hasColours
    ? (style, text) => styleText(style, text, { validateStream: false })
    : (_style, text) => text
  return {
    print(event) {
      for (const line of humanLines(event, paint)) sink(line)
    }
  }
}

function humanLines(event: CliEvent, paint: Paint): string[] {
  const topicTag = (topic: string): string => paint('cyan', `[${sanitize(topic)}]`)
  switch (event.event) {
    case 'listening':
      return [
        `${paint('bold', `Muster ${event.role}`)} ${event.peerId}`,
        ...event.addresses.map(address => `  listening on ${address}`),
        ...(event.http === undefined ? [] : [`  status at ${event.http}`])
      ]
    case 'ready':
      return [paint('green', '✓ the DHT answers')]
    case 'joined':
      return [`${topicTag(event.topic)} joined; waiting for members`]
    case 'topic':
      return [`${topicTag(event.topic)} is where typed text goes now`]
    case 'member':
      return [
        `${topicTag(event.topic)} ${paint('green', '+')} ${who(event.peerId, event.name, paint)}${event.verified ? '' : paint('dim', ' (not reached yet)')}`
      ]
    case 'left': {
      if (event.isSelf) return [`${topicTag(event.topic)} left`]
      const how = event.reason === 'goodbye' ? 'said goodbye' : 'was lost'
      return [`${topicTag(event.topic)} ${paint('yellow', '-')} ${who(event.peerId, event.name, paint)} ${how}`]
    }
    case 'message':
      return [
        `${topicTag(event.topic)} ${when(event.sentAt, event.via, paint)}${who(event.from, event.name, paint)}${event.question === undefined ? '' : ' asks'}: ${shownValue(event.value)}${event.question === undefined ? '' : paint('dim', ` (/answer ${event.question} …)`)}`
      ]
    case 'sent':
      return [
        `${topicTag(event.topic)} ${paint('green', '✓')} received by ${who(event.to, event.name, paint)} in ${milliseconds(event.rttMs)}`
      ]
    case 'file-progress':
      return [] // a bar, where there is a terminal
    case 'file': {
      const file = `${sanitize(event.name)} (${bytesText(event.bytes)})`
      const partner = who(event.peerId, event.member, paint)
      if (event.direction === 'out')
        return [`${topicTag(event.topic)} ${paint('green', '✓')} ${file} received by ${partner}`]
      return [`${topicTag(event.topic)} ${paint('green', '↓')} ${file} from ${partner}, saved as ${event.path}`]
    }
    case 'error':
      return errorLines(event.code, event.message).map(line => paint('red', line))
    case 'said':
      return [`${topicTag(event.topic)} ${saidText(event.received, event.members)}`]
    case 'answer':
      return [
        `${topicTag(event.topic)} ${paint('green', '✓')} ${who(event.from, event.name, paint)} answers: ${shownValue(event.value)}`
      ]
    case 'answered':
      return [`${topicTag(event.topic)} ${paint('green', '✓')} ${who(event.to, event.name, paint)} has your answer`]
    case 'history':
      return [`${topicTag(event.topic)} ${historyText(event.messages)}`]
    case 'members':
      if (event.members.length === 0) return [`${topicTag(event.topic)} nobody else is here yet`]
      return [
        `${topicTag(event.topic)} ${count(event.members.length, 'member')} besides you`,
        ...event.members.map(
          member =>
            `  ${who(member.peerId, member.name, paint)} ${paint('dim', member.peerId)}${member.verified ? '' : ' (not reached yet)'}`
        )
      ]
    case 'connected':
      return [`${paint('green', '✓')} connected to ${event.peerId}`]
    case 'disconnected':
      return [`${paint('green', '✓')} ${event.address} is not dialled any more`]
    case 'status':
      return statusLines(event.status)
    case 'help':
      return helpLines(event.commands, paint)
    case 'hint':
      return [event.text]
    default:
      return recordLines(event, paint)
  }
}

/** `error: <message> (<code>)`; several problems, one a line of the message, are counted first. */
export function errorLines(code: string, message: string): string[] {
  const lines = message.split('\n').map(line => sanitize(line))
  if (lines.length === 1) return [`error: ${lines[0]} (${code})`]
  return [`error: ${lines.length} problems (${code})`, ...lines.map(line => `  ${line}`)]
}

function who(peerId: PeerId, name: string | undefined, paint: Paint): string {
  const id = sanitize(shortId(peerId))
  return name === undefined || name === '' ? paint('bold', id) : `${paint('bold', sanitize(name, 64))} (${id})`
}

/** The time of what was said before; what comes now needs none. */
function when(sentAt: string | undefined, via: Via, paint: Paint): string {
  return via === 'history' && sentAt !== undefined ? `${paint('dim', sentAt.slice(0, 16).replace('T', ' '))} ` : ''
}

function historyText(messages: number): string {
  if (messages === 0) return 'nobody here keeps what was said: start a peer or bootstrap with --keep'
  return `${count(messages, 'message')} from before`
}

function saidText(received: number, members: number): string {
  if (members === 0) return 'nobody else is here yet, so nobody heard you'
  if (received === members) return `received by ${members === 1 ? 'the one member' : `all ${members} members`}`
  return `received by ${received} of ${count(members, 'member')}`
}

function statusLines(status: Status): string[] {
  const { connections, records, disk, health } = status
  return [
    `${status.role} ${status.peerId}${status.name === undefined ? '' : ` (${sanitize(status.name)})`}`,
    `  network       ${sanitize(status.network)}, version ${status.version}, up ${duration(status.uptimeSeconds)}`,
    `  health        ${health.ok ? 'the DHT answers' : `not well: ${sanitize(health.reason ?? 'unknown')}`}`,
    `  connections   ${connections.inbound} inbound, ${connections.outbound} outbound`,
    `  routing table ${count(status.routingTable.size, 'peer')}`,
    ...status.topics.map(
      topic => `  topic         ${sanitize(topic.name ?? topic.key)}: ${count(topic.members, 'member')}`
    ),
    `  records       ${records.count} (${bytesText(records.bytes)}), ${records.providers} provider, ${records.members} member`,
    `  disk          ${disk.path === null ? 'in memory' : `${disk.path}, ${bytesText(disk.bytes)}`}`,
    ...status.addresses.map(address => `  address       ${sanitize(address)}`)
  ]
}

function helpLines(commands: ReadonlyArray<{ usage: string; help: string }>, paint: Paint): string[] {
  const width = Math.max(...commands.map(command => command.usage.length)) + 2
  return commands.map(
    command => `  ${paint('bold', command.usage)}${' '.repeat(width - command.usage.length)}${command.help}`
  )
}

function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}

function duration(seconds: number): string {
  const whole = Math.floor(seconds)
  const [days, hours, minutes] = [
    Math.floor(whole / 86_400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60
  ]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`
}

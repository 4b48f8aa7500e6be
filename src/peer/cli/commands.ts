import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Group } from '../api.ts'
import { firstWord, invalidCommand } from './command-words.ts'
import { findMember } from './member-names.ts'
import { RECORD_COMMANDS } from './record-console.ts'
import { valueOfText } from './record-value.ts'
import type { Session } from './session.ts'

/** Longest line taken from standard input, in UTF-8 bytes; see docs/limits.md. */
export const MAX_LINE_BYTES = 1_048_576

/** One console command. */
export interface Command {
  readonly name: string
  readonly usage: string
  /** One sentence. */
  readonly help: string
  /** Does it; `rest` is what was typed after the name, trimmed. Throws a `MusterError` for the user. */
  run(session: Session, rest: string): void | Promise<void>
}

export const COMMANDS: readonly Command[] = [
  {
    name: 'members',
    usage: '/members [topic]',
    help: 'Lists who is in the current topic, or in the one named.',
    run(session, rest) {
      const group =
        rest === '' ? session.current : session.peer.groups.find(({ topic }) => topic === rest.normalize('NFC'))
      if (group === undefined) {
        throw invalidCommand(
          rest === '' ? NO_TOPIC : `you are not in ${JSON.stringify(rest)}; /status lists your topics`
        )
      }
      session.printer.print({ event: 'members', topic: group.topic, members: group.members() })
    }
  },
  {
    name: 'send',
    usage: '/send <member> <text or JSON>',
    help: 'Sends to one member: a nick ("in quotes" if it has spaces), a peer id, or the start or end of either.',
    async run(session, rest) {
      const { group, member, text } = addressed(session, 'send', rest, 'something to send')
      await session.send(group, member, valueOfText(text))
    }
  },
  {
    name: 'send-file',
    usage: '/send-file <member> <path>',
    help: 'Sends a file to one member, into the folder it keeps for files, and says when it is there.',
    async run(session, rest) {
      const { group, member, text } = addressed(session, 'send-file', rest, 'the path of a file')
      const path = /^"(.*)"$/su.exec(text)?.[1] ?? text
      if (path === '') throw expected('send-file', 'the path of a file after the member')
      await session.sendFile(group, member, path)
    }
  },
  {
    name: 'ask',
    usage: '/ask <member|*> <text or JSON>',
    help: 'Asks one member, or with * everybody in the topic, and prints the answer.',
    async run(session, rest) {
      const [word, question] = firstWord(rest)
      if (word !== '*') {
        const { group, member, text } = addressed(session, 'ask', rest, 'something to ask', 'a member, or *,')
        return await session.ask(group, member, valueOfText(text))
      }
      const group = currentGroup(session)
      if (question === '') throw expected('ask', 'something to ask after the *')
      await session.askAll(group, valueOfText(question))
    }
  },
  {
    name: 'answer',
    usage: '/answer <number> <text or JSON>',
    help: 'Answers a question, by the number it came with.',
    async run(session, rest) {
      const [word, text] = firstWord(rest)
      if (!/^\d{1,9}$/.test(word)) throw expected('answer', 'the number of a question')
      if (text === '') throw expected('answer', 'an answer after the number')
      await session.answer(Number(word), valueOfText(text))
    }
  },
  {
    name: 'broadcast',
    usage: '/broadcast <text or JSON>',
    help: 'Says something to everybody in the current topic, as typed text does, but JSON goes as JSON.',
    async run(session, rest) {
      if (rest === '') throw expected('broadcast', 'something to say')
      await session.say(valueOfText(rest))
    }
  },
  {
    name: 'history',
    usage: '/history [count]',
    help: 'Prints what was said before, the newest 20 messages or as many as you want, if somebody keeps them.',
    async run(session, rest) {
      const group = currentGroup(session)
      const limit = rest === '' ? 20 : Number(rest)
      if (!Number.isInteger(limit) || limit < 1) throw expected('history', 'a number of messages')
      await session.history(group, limit)
    }
  },
  {
    name: 'join',
    usage: '/join <topic>',
    help: 'Joins a topic; typed text goes there from now on.',
    async run(session, rest) {
      if (rest === '') throw expected('join', 'the name of a topic')
      await session.join(rest)
    }
  },
  {
    name: 'leave',
    usage: '/leave [topic]',
    help: 'Says goodbye to the current topic, or to the one named.',
    run: (session, rest) => session.leave(rest === '' ? undefined : rest)
  },
  {
    name: 'topic',
    usage: '/topic [topic]',
    help: 'Says where typed text goes, or sends it to another topic you have joined.',
    run(session, rest) {
      if (rest !== '') return session.select(rest)
      session.printer.print({ event: 'topic', topic: currentGroup(session).topic })
    }
  },
  {
    name: 'connect',
    usage: '/connect <address>',
    help: 'Connects to a node, as one more way into the network: host:port or a multiaddr.',
    async run(session, rest) {
      if (rest === '') throw expected('connect', 'an address, e.g. 127.0.0.1:8468')
      session.printer.print({ event: 'connected', peerId: await session.peer.connect(rest) })
    }
  },
  {
    name: 'disconnect',
    usage: '/disconnect <address>',
    help: 'Gives up one way into the network; members stay.',
    async run(session, rest) {
      if (rest === '') throw expected('disconnect', 'an address that was given with --bootstrap or /connect')
      await session.peer.disconnect(rest)
      session.printer.print({ event: 'disconnected', address: rest })
    }
  },
  ...RECORD_COMMANDS,
  {
    name: 'status',
    usage: '/status',
    help: 'Shows identity, addresses, connections, topics and storage.',
    async run(session, rest) {
      if (rest !== '') throw expected('status', 'nothing after it')
      session.printer.print({ event: 'status', status: await session.peer.status() })
    }
  },
  {
    name: 'help',
    usage: '/help [command]',
    help: 'Lists the commands, or explains one.',
    run(session, rest) {
      const commands = rest === '' ? COMMANDS : [commandOf(rest.replace(/^\//, ''))]
      session.printer.print({ event: 'help', commands: commands.map(({ usage, help }) => ({ usage, help })) })
      if (rest === '') {
        session.printer.print({
          event: 'hint',
          text: '  Anything else is said to everybody in the current topic; begin with // to say a text that starts with /.'
        })
      }
    }
  },
  {
    name: 'quit',
    usage: '/quit',
    help: 'Says goodbye to everybody and ends.',
    run: session => session.quit()
  }
]

const NO_TOPIC = 'you are in no topic; /join <topic> enters one'

/** Does what one typed line says. Bad input and failures are printed, never thrown. */
export async function runLine(session: Session, line: string): Promise<void> {
  try {
    await execute(session, line)
  } catch (thrown) {
    if (!(thrown instanceof MusterError) && !session.peer.signal.aborted) throw thrown // a bug: not to be hidden
    const { code, message } = asMusterError(thrown, 'closed')
    session.printer.print({ event: 'error', code, message })
  }
}

async function execute(session: Session, line: string): Promise<void> {
  if (Buffer.byteLength(line) > MAX_LINE_BYTES) throw lineTooLong()
  const text = line.trim()
  if (text === '') return
  if (text.startsWith('//')) return session.say(text.slice(1))
  if (!text.startsWith('/')) return session.say(text)
  const [, name = '', rest = ''] = /^\/(\S*)\s*(.*)$/su.exec(text) ?? []
  await commandOf(name).run(session, rest)
}

export function lineTooLong(): MusterError {
  return new MusterError('too-large', `a line has at most ${MAX_LINE_BYTES} bytes; this one was ignored`)
}

function commandOf(name: string): Command {
  const command = COMMANDS.find(candidate => candidate.name === name.toLowerCase())
  if (command !== undefined) return command
  const near = COMMANDS.find(candidate => name !== '' && candidate.name.startsWith(name.toLowerCase()))
  const hint = near === undefined ? '/help lists the commands' : `did you mean ${near.usage}?`
  const shown = name.length > 40 ? `${name.slice(0, 40)}…` : name
  throw invalidCommand(`there is no command /${shown}; ${hint}`)
}

function currentGroup({ current }: Session): Group {
  if (current === undefined) throw invalidCommand(NO_TOPIC)
  return current
}

/** What `/<name> <member> <what>` says. */
function addressed(session: Session, name: string, rest: string, what: string, whom = 'a member') {
  const group = currentGroup(session)
  const [word, text] = firstWord(rest)
  if (word === '') throw expected(name, `${whom} and ${what}`)
  const member = findMember(group.members(), word)
  if (text === '') throw expected(name, `${what} after the member`)
  return { group, member, text }
}

function expected(name: string, what: string): MusterError {
  return invalidCommand(`/${name} expects ${what}: ${commandOf(name).usage}`)
}

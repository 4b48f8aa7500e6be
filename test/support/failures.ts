import { inspect } from 'node:util'

/** What Node's test runner tells a reporter; the part that is read here. */
interface TestEvent {
  readonly type: string
  readonly data: {
    readonly name: string
    readonly file?: string
    readonly details?: { readonly type?: string; readonly error?: Error & { readonly cause?: unknown } }
  }
}

/** A reporter that names what failed, and why, and nothing else: the end of a long run is what is looked at. */
export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    const error = data.details?.error
    if (type !== 'test:fail' || error === undefined || data.details?.type === 'suite') continue
    yield `✖ ${data.name} (${data.file ?? 'no file'})\n${inspect(error.cause ?? error)}\n\n`
  }
}

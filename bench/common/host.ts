/**
 * Runs a part of a contestant in a process of its own: `node host.ts <module>`, then calls of what the module exports
 * as `stack`, over the channel that `child_process` opens. Dies with the driver.
 */
export interface Call {
  readonly id: number
  readonly name: string
  readonly args: readonly unknown[]
}

export interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}

/** Sent once, when calls are taken. */
export const READY: Answer = { id: 0 }

const [, , path = ''] = process.argv
const { stack } = (await import(path)) as { stack: Record<string, (...args: readonly unknown[]) => unknown> }

const run = async ({ id, name, args }: Call): Promise<Answer> => {
  try {
    return { id, value: await stack[name]?.(...args) }
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

process.on('disconnect', () => process.exit(0))
process.on('message', (call: Call) => {
  void run(call).then(answer => process.send?.(answer))
})
// An other side that leaves in the middle of something must not take this one down.
process.on('uncaughtException', error => process.stderr.write(`${path}: ${error.stack}\n`))
process.send?.(READY)

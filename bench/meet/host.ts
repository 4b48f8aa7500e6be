import type { Stack } from './stacks/stack.ts'

/**
 * Runs a part of one stack's network in its own process: `node host.ts <stack>`, then commands over the channel
 * that `child_process` opens. Dies with the driver.
 */
export type Command = { [K in keyof Stack]: { id: number; name: K; args: Parameters<Stack[K]> } }[keyof Stack]
export type Answer = { id: number; value?: unknown; error?: string }

const { stack } = (await import(`./stacks/${process.argv[2]}.ts`)) as { stack: Stack }

const run = async ({ id, name, args }: Command): Promise<Answer> => {
  try {
    return { id, value: await (stack[name] as (...args: unknown[]) => unknown)(...args) }
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

process.on('disconnect', () => process.exit(0))
process.on('message', (command: Command) => {
  void run(command).then(answer => process.send?.(answer))
})
// A newcomer that leaves in the middle of something must not take the network down.
process.on('uncaughtException', error => process.stderr.write(`${process.argv[2]}: ${error.stack}\n`))
process.send?.({ id: 0 })

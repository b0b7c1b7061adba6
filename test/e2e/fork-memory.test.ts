/** Copy-on-write in the sandbox's kernel (scripts/tools/runsc/prepare/forks.go): a process forked again and again, whose children write. */
import { expect, it } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { installation } from './installation.ts'

const client = lambdaClient(installation())

/**
 * Each child checks that it sees the parent's memory, writes pages of which most are the same as its siblings' and some are its own
 * (by the program and by system calls, in memory of the process and in a file mapped privately), and checks every page afterwards. Between
 * the forks the parent writes too. Some children fork again, and some live on while the next ones are made.
 */
const source = `
import mmap, os, random, tempfile
PAGE, PAGES = 4096, 2048

def stamp(owner, page):
    return b"%d/%d;" % (owner, page)

def write(memory, owner, page, pipe):
    text = stamp(owner, page)
    start = page * PAGE + 100
    if pipe and page % 3 == 0:
        os.write(pipe[1], text)
        os.readv(pipe[0], [memoryview(memory)[start:start + len(text)]])
    else:
        memory[start:start + len(text)] = text

def wrong(memory, owners):
    return [page for page in range(PAGES) if memory[page * PAGE + 100:page * PAGE + 100 + len(stamp(owners[page], page))] != stamp(owners[page], page)]

def child(number, memories, owners, depth):
    chosen = random.Random(number)
    pipe = os.pipe()
    for memory in memories:
        if wrong(memory, owners): return 1
    mine = list(owners)
    for page in [*range(0, PAGES, 16), *chosen.sample(range(PAGES), 64)]:
        for memory in memories: write(memory, number, page, pipe)
        mine[page] = number
    if depth and number % 5 == 0:
        pid = os.fork()
        if pid == 0: os._exit(child(number + 100000, memories, mine, 0))
        if os.waitpid(pid, 0)[1] != 0: return 3
    for memory in memories:
        if wrong(memory, mine): return 2
    return 0

def handler(event, context):
    file = tempfile.TemporaryFile()
    file.truncate(PAGES * PAGE)
    memories = [mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), mmap.mmap(file.fileno(), PAGES * PAGE, flags=mmap.MAP_PRIVATE)]
    owners = [0] * PAGES
    for page in range(PAGES):
        for memory in memories: write(memory, 0, page, None)
    statuses, alive = [], []
    for number in range(1, event["forks"] + 1):
        pid = os.fork()
        if pid == 0:
            os._exit(child(number, memories, owners, 1))
        alive.append(pid)
        if number % 4 == 0:
            while alive: statuses.append(os.waitpid(alive.pop(), 0)[1])
        for page in range(number % 7, PAGES, 97):
            for memory in memories: write(memory, -number, page, None)
            owners[page] = -number
        # What was mapped at the time of one fork is other memory at the next.
        if number % 10 == 0:
            memories[0].close()
            memories[0] = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            for page in range(PAGES): write(memories[0], owners[page], page, None)
    while alive: statuses.append(os.waitpid(alive.pop(), 0)[1])
    return {"bad": [status for status in statuses if status != 0], "children": len(statuses), "parent": [len(wrong(memory, owners)) for memory in memories]}
`

it('children of a process see what it had when they were forked and what they wrote, and it sees nothing of theirs', async () => {
  const name = uniqueName('fork-memory')
  await createFunction(client, name, { 'index.py': source }, { Runtime: 'python3.11', MemorySize: 512, Timeout: 120 })
  const { json, text } = await invoke(client, name, { forks: 60 })
  expect(json, text).toEqual({ bad: [], children: 60, parent: [0, 0] })
}, 150_000)

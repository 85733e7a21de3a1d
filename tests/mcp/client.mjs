// Drives a server with the official TypeScript client, one line of JSON in, one line of JSON out.
//
// First line, where to connect:
//   {"http": {"url": "http://127.0.0.1:1/mcp", "headers": {"X-Api-Key": "…"}}}       or
//   {"stdio": {"command": ["ikoma", "mcp"], "env": {…}, "cwd": "…"}}
//   and beside it: "era" modern | legacy | auto (auto), "answer" what its user says to every form, such as
//   {"action": "accept", "content": {"confirm": true}} (without it the client has no elicitation at all).
// Answer: {"ok": true, "result": {"protocolVersion", "server", "capabilities", "instructions"}}
//
// Each further line is one request: {"method": "tools/call", "params": {"name": "…", "arguments": {…}}, "timeout": ms}
// Answer: {"ok": true, "result": {…}, "progress": [messages], "asked": [what forms said]}
//      or {"ok": false, "error": {"code", "message", "data"}, "progress": […], "asked": […]}
// It ends with its input.

import { createInterface } from 'node:readline';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const ERAS = { modern: { mode: { pin: '2026-07-28' } }, legacy: { mode: 'legacy' }, auto: { mode: 'auto' } };

let client;
let asked = [];

async function connect({ http, stdio, era = 'auto', answer }) {
    client = new Client(
        { name: 'typescript-client', version: '1' },
        { capabilities: answer ? { elicitation: { form: {} } } : {}, versionNegotiation: ERAS[era] }
    );
    if (answer) {
        client.setRequestHandler('elicitation/create', async request => {
            asked.push(request.params.message);
            return answer;
        });
    }
    await client.connect(http ? overHttp(http) : overStdio(stdio));
    return {
        protocolVersion: client.getNegotiatedProtocolVersion(),
        server: client.getServerVersion(),
        capabilities: client.getServerCapabilities(),
        instructions: client.getInstructions()
    };
}

function overHttp({ url, headers = {} }) {
    return new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
}

function overStdio({ command: [command, ...args], env, cwd }) {
    return new StdioClientTransport({ command, args, env, cwd, stderr: 'inherit' });
}

async function request({ method, params = {}, timeout = 60_000 }, progress) {
    const options = { timeout, onprogress: ({ message }) => progress.push(message ?? '') };
    switch (method) {
        case 'tools/call':
            return client.callTool(params, options); // checks structuredContent against the tool's outputSchema
        case 'tools/list':
            return client.listTools(params, options);
        case 'resources/list':
            return client.listResources(params, options);
        case 'resources/templates/list':
            return client.listResourceTemplates(params, options);
        case 'resources/read':
            return client.readResource(params, options);
        case 'prompts/list':
            return client.listPrompts(params, options);
        case 'prompts/get':
            return client.getPrompt(params, options);
        case 'completion/complete':
            return client.complete(params, options);
        default:
            throw new Error(`client.mjs has no ${method}`);
    }
}

function told(error) {
    return { code: error.code ?? null, message: String(error.message ?? error), data: error.data ?? null };
}

for await (const line of createInterface({ input: process.stdin })) {
    const progress = [];
    asked = [];
    let answer;
    try {
        const order = JSON.parse(line);
        answer = { ok: true, result: client ? await request(order, progress) : await connect(order) };
    } catch (error) {
        answer = { ok: false, error: told(error) };
    }
    process.stdout.write(JSON.stringify({ ...answer, progress, asked }) + '\n');
}
await client?.close();

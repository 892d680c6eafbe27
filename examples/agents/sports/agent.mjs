// An agent that answers questions about a small football league. The model may only look things up
// with the tools below; what they say comes from the table in this file, so that nothing is made up
// about who won. The hub writes the arguments of a tool within its schema, so a team that does not
// exist can not be asked for.
//
//   HEARTH_URL=http://127.0.0.1:8000 node agent.mjs "How did Harrow do last week?"
const url = process.env.HEARTH_URL ?? 'http://127.0.0.1:8000';
const question = process.argv[2] ?? 'How did Brindlemoor do last week, and whom do they meet next?';
const STEPS_MAX = 4;

const teams = ['Brindlemoor', 'Harrow Vale', 'Quenby', 'Ottersford'];
const results = [
  { day: 1, home: 'Brindlemoor', away: 'Quenby', score: [2, 1] },
  { day: 1, home: 'Harrow Vale', away: 'Ottersford', score: [0, 0] },
  { day: 2, home: 'Quenby', away: 'Harrow Vale', score: [1, 3] },
  { day: 2, home: 'Ottersford', away: 'Brindlemoor', score: [0, 2] },
];
const fixtures = [
  { day: 3, home: 'Brindlemoor', away: 'Harrow Vale' },
  { day: 3, home: 'Ottersford', away: 'Quenby' },
];

const plays = (match, team) => match.home === team || match.away === team;

function standings() {
  const rows = Object.fromEntries(teams.map((team) => [team, { team, played: 0, points: 0, goals: 0 }]));
  for (const { home, away, score: [h, a] } of results) {
    for (const [team, own, other] of [[home, h, a], [away, a, h]]) {
      rows[team].played += 1;
      rows[team].points += own > other ? 3 : own === other ? 1 : 0;
      rows[team].goals += own - other;
    }
  }
  return Object.values(rows).sort((x, y) => y.points - x.points || y.goals - x.goals);
}

const team = { type: 'object', properties: { team: { type: 'string', enum: teams } }, required: ['team'] };
const tools = {
  standings: { does: 'The table of the league.', takes: { type: 'object', properties: {} }, run: standings },
  last_result: { does: 'The last match of a team.', takes: team, run: (of) => results.filter((m) => plays(m, of.team)).at(-1) },
  next_match: { does: 'The next match of a team.', takes: team, run: (of) => fixtures.find((m) => plays(m, of.team)) },
};

async function ask(messages, choice) {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(process.env.HEARTH_API_KEY && { Authorization: `Bearer ${process.env.HEARTH_API_KEY}` }),
    },
    body: JSON.stringify({
      messages,
      tools: Object.entries(tools).map(([name, { does, takes }]) => (
        { type: 'function', function: { name, description: does, parameters: takes } })),
      tool_choice: choice,
      parallel_tool_calls: false,
      temperature: 0,
      max_tokens: 200,
      local_only: true, // a question about people's team is nobody else's
    }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body.choices[0].message;
}

const messages = [
  { role: 'system', content: 'You answer questions about a football league. Look things up with the tools; say only what they say.' },
  { role: 'user', content: question },
];
console.log('question:', question);
for (let step = 0; step < STEPS_MAX; step++) {
  // The first step looks something up; the last one must answer.
  const message = await ask(messages, step === 0 ? 'required' : step === STEPS_MAX - 1 ? 'none' : 'auto');
  messages.push(message);
  if (!message.tool_calls?.length) {
    console.log('answer:', message.content);
    break;
  }
  for (const call of message.tool_calls) {
    const { name, arguments: text } = call.function;
    const found = tools[name].run(JSON.parse(text));
    console.log(`looked up: ${name}(${text}) -> ${JSON.stringify(found)}`);
    messages.push({ role: 'tool', tool_call_id: call.id, content: JSON.stringify(found) });
  }
}

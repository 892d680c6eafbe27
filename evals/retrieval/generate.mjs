// The part of the labelled set that is made from tables: manuals of three pumps that differ in numbers
// only, two event logs and a tide table. Deterministic; questions come with it.

const PUMPS = [
  { id: 'P-41', use: 'the cellar of the fish hall', flow: '38 cubic metres an hour', head: '14 metres', power: '4.0 kilowatts',
    weight: '96 kilograms', seal: 'HD-5520', impeller: 'KL-0091', bearing: 'BR-6208', oil: '0.9 litres', bolt: '54 newton metres', hours: '4,000', noise: '68 decibels', year: '2017' },
  { id: 'P-42', use: 'the inner basin', flow: '72 cubic metres an hour', head: '11 metres', power: '5.5 kilowatts',
    weight: '131 kilograms', seal: 'HD-5520', impeller: 'KL-0094', bearing: 'BR-6312', oil: '1.4 litres', bolt: '61 newton metres', hours: '5,000', noise: '71 decibels', year: '2019' },
  { id: 'P-47', use: 'the flood culvert', flow: '310 cubic metres an hour', head: '6 metres', power: '11 kilowatts',
    weight: '274 kilograms', seal: 'HD-5525', impeller: 'KL-0103', bearing: 'BR-6312', oil: '2.6 litres', bolt: '88 newton metres', hours: '8,000', noise: '79 decibels', year: '2024' },
];

const pumpManual = (p) => `# Submersible pump ${p.id}: installation and service

## Purpose

The ${p.id} empties ${p.use}. It has been in service since ${p.year}. It is made for sea water with sand up to three millimetres, not for hot or explosive liquids.

## Technical data

| Property | Value |
| --- | --- |
| Flow | ${p.flow} |
| Delivery head | ${p.head} |
| Motor | ${p.power}, three-phase |
| Weight | ${p.weight} |
| Sound at one metre | ${p.noise} |

---

## Installation

Lower the pump by its chain, never by the cable. The floor must be level; the float switch needs a hand's breadth of room on each side. Tighten the four bolts of the discharge flange crosswise to ${p.bolt}. Check the direction of rotation before it is under water: seen from above the rotor jerks anticlockwise.

## Service

After ${p.hours} hours of running, at the latest after three years, renew shaft seal ${p.seal} and bearing ${p.bearing} and fill in ${p.oil} of white oil. If the oil is milky, water has got past the seal. The impeller ${p.impeller} is changed when its rim has lost four millimetres.

---

## Faults

| Sign | Cause | Remedy |
| --- | --- | --- |
| It hums but doesn't turn | a phase is missing, or the impeller is jammed | look at the fuses, then turn the rotor by hand |
| It runs but delivers little | wrong direction of rotation, worn impeller ${p.impeller} | swap two phases; measure the rim |
| The leak probe reports | shaft seal ${p.seal} is worn | take it out within a week |
`;

const pumpQuestions = (p) => [
  ['d', `What is the flow of the ${p.id}?`, p.flow],
  ['d', `How heavy is the ${p.id}?`, p.weight],
  ['d', `How tight are the flange bolts of pump ${p.id}?`, p.bolt],
  ['d', `How much white oil goes into the ${p.id}?`, p.oil],
];

/** A small linear congruential generator: the same numbers everywhere. */
function dice(seed) {
  let x = seed;
  return (n) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor(x / 2 ** 32 * n);
  };
}

const ORDINARY = [
  'T1 synchronised, head {h} m', 'T2 synchronised, head {h} m', 'T3 synchronised, head {h} m', 'T1 stopped, slack water',
  'T2 stopped, slack water', 'T3 stopped, slack water', 'Gate 1 opened', 'Gate 4 closed', 'Rake 2 run, {k} kg of weed',
  'Rake 1 run, {k} kg of weed', 'Oil temperature T2 {t} degrees', 'Grid frequency within limits', 'Watch handed over',
];

const LOGS = [
  { file: 'events-2032-03.txt', title: 'EVENT LOG OF THE PLANT, MARCH 2032', seed: 303, notable: {
    '2032-03-04 03:17': 'T2 tripped by E-107, bearing 91 degrees; restarted 04:40 (A. Runciman)',
    '2032-03-11 14:02': 'Diver K. Vesterholm in the intake, lock-out tags 31 to 36, back on board 15:25',
    '2032-03-19 22:48': 'T1 tripped by E-131, lightning in the mainland grid; reconnected 22:53',
    '2032-03-27 09:30': 'Seal pup in the fish pass, gate 2 held for 50 minutes until it left' },
  questions: [
    ['i', 'When did E-107 trip turbine 2 in March?', 'T2 tripped by E-107'],
    ['i', 'Which lock-out tags did Vesterholm use?', 'tags 31 to 36'],
    ['p', 'Which young animal blocked the way of the fish?', 'Seal pup in the fish pass'] ] },
  { file: 'events-2032-10.txt', title: 'EVENT LOG OF THE PLANT, OCTOBER 2032', seed: 310, notable: {
    '2032-10-06 07:55': 'T3 taken out for coating, blades dried with fan heaters',
    '2032-10-13 16:20': 'T1 tripped by E-142, trawl net of 60 metres in rack 1, owner unknown',
    '2032-10-21 05:12': 'T2 tripped by E-150, battery of the clock replaced (M. Stanek)',
    '2032-10-28 11:00': 'T3 back at full load, vibration 1.1 mm/s' },
  questions: [
    ['i', 'What tripped by E-142 in October?', 'T1 tripped by E-142'],
    ['i', 'Who replaced the battery after E-150?', 'T2 tripped by E-150'],
    ['p', 'How strongly did the third set shake after it had been repaired?', 'vibration 1.1 mm/s'] ] },
];

function eventLog(log) {
  const roll = dice(log.seed);
  const lines = [];
  const month = log.file.slice(7, 14);
  for (let day = 1; day <= 28; day += 2) {
    for (let i = 0; i < 4; i++) {
      const time = `${String(roll(24)).padStart(2, '0')}:${String(roll(60)).padStart(2, '0')}`;
      lines.push(`${month}-${String(day).padStart(2, '0')} ${time}  ${ORDINARY[roll(ORDINARY.length)]
        .replace('{h}', (0.8 + roll(25) / 10).toFixed(1)).replace('{k}', 20 + roll(180)).replace('{t}', 48 + roll(14))}`);
    }
  }
  for (const [when, what] of Object.entries(log.notable)) lines.push(`${when}  ${what}`);
  return `${log.title}\n\n${lines.sort().join('\n')}\n`;
}

function tideTable() {
  const rows = ['date,first_high,height_m,first_low,height_m,second_high,height_m'];
  for (let day = 1; day <= 30; day++) {
    const minutes = (day * 49 + 137) % 745;
    const clock = (m) => `${String(Math.floor(m / 60) % 24).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`;
    const height = 3.1 + Math.cos((day - 4) / 14.8 * 2 * Math.PI) * 0.6;
    rows.push(`2032-06-${String(day).padStart(2, '0')},${clock(minutes)},${height.toFixed(2)},${clock(minutes + 372)},` +
      `${(4.1 - height).toFixed(2)},${clock(minutes + 745)},${(height - 0.08).toFixed(2)}`);
  }
  return rows.join('\n') + '\n';
}

/** {name, text}: name with `.md` behind it is to be rendered, as the files in sources/. */
export function generatedSources() {
  return [
    ...PUMPS.map((p) => ({ name: `pump-${p.id.toLowerCase()}.pdf.md`, text: pumpManual(p) })),
    ...LOGS.map((l) => ({ name: l.file, text: eventLog(l) })),
    { name: 'tides-2032-06.csv', text: tideTable() },
  ];
}

export function generatedQuestions() {
  const all = [];
  for (const p of PUMPS) {
    for (const [kind, question, words] of pumpQuestions(p)) all.push({ file: `pump-${p.id.toLowerCase()}.pdf`, kind, question, words: [words] });
  }
  for (const l of LOGS) for (const [kind, question, words] of l.questions) all.push({ file: l.file, kind, question, words: [words] });
  all.push({ file: 'tides-2032-06.csv', kind: 'i', question: 'When is high water on 2032-06-17?', words: ['2032-06-17'] });
  all.push({ file: 'tides-2032-06.csv', kind: 'i', question: 'How high is the tide on 2032-06-04?', words: ['2032-06-04'] });
  return all;
}

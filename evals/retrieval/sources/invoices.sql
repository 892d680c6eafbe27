-- Members who have not paid two bills in a row, for the letter that Pieter writes in autumn.
-- People with an instalment plan are left out, and everybody between November and March.
CREATE VIEW overdue_members AS
SELECT m.member_no, m.name, m.street, SUM(b.amount_cr) AS owed_cr, COUNT(*) AS bills
FROM members m
JOIN bills b ON b.member_no = m.member_no
WHERE b.paid_on IS NULL
  AND b.due_on < CURRENT_DATE - INTERVAL '21 days'
  AND NOT EXISTS (SELECT 1 FROM instalment_plans p WHERE p.member_no = m.member_no AND p.ended_on IS NULL)
GROUP BY m.member_no, m.name, m.street
HAVING COUNT(*) >= 2
ORDER BY owed_cr DESC;

-- The share is counted against the debt only when a member leaves.
CREATE VIEW leaving_members AS
SELECT m.member_no, m.shares * 500 - COALESCE(o.owed_cr, 0) AS to_pay_out_cr
FROM members m LEFT JOIN overdue_members o USING (member_no)
WHERE m.left_on IS NOT NULL;

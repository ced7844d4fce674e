"""The git branch that follows a cluster; `attachments.git` is the attachment, `cluster branches` the command.

wanted      the document, typed          content     the files of the branch, rendered; whoami is a chart of ours
guards      which branches are touched   access      credentials, also when no document has them any more
publishing  making and removing one      comparing   all branches of a repository against the clusters
"""
